"""Photos with depth, lifted to surfaces and rendered from two new cameras each: real textures with exact depth.

The surface is the depth map as a sheet without holes, so whatever the sensor did wrong, both views show the same. Only
the walls that the sheet has at edges and in holes are no surface of the room: their depth is 0, unknown.

World frame: that of the camera that took the photo.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.geometry import (
    Cameras,
    Rays,
    ScenePair,
    intrinsics_matrix,
    look_at,
    pixel_grid,
    pixel_rays,
    project,
    relative_pose,
    uniform,
)
from astr_cli.scenes.texturing import Pyramid, backgrounds, build_pyramid, sample

MARCH_STEPS = 32
BISECTIONS = 5
CANDIDATES = 16
JUDGED = 12  # points across and down the photo by which the overlap of two cameras is judged
LEAST = 0.15  # of the judged points that a view must show


class Sheets(NamedTuple):
    """B photos with depth."""

    photos: Tensor  # (B, 1, h, w)
    inverse: Tensor  # (B, 1, m, n) 1 / z-depth of the same views, known everywhere
    trusted: Tensor  # (B, 1, m, n) 1 = surface, 0 = a wall at an edge or in a hole
    intrinsics: Tensor  # (B, 3, 3) of the photos


def render_lifted(
    sheets: Sheets, size: tuple[int, int], generator: torch.Generator, difficulty: float = 1.0, hard: bool = False
) -> ScenePair:
    """Two views of `size` (H, W) of each sheet, from beside the camera that took it; beyond the sheet depth is 0.

    `difficulty` from 0 to 1 is how far the cameras are apart; `hard` pairs have a scale ratio from 2 to 4.
    """
    device = sheets.photos.device
    cameras = _draw_cameras(sheets, size, generator, difficulty, hard)
    pyramid = build_pyramid(sheets.photos)
    views = [_render(sheets, pyramid, each, backgrounds(sheets.photos, size, generator)) for each in cameras]
    (image0, depth0), (image1, depth1) = views
    first, second = cameras
    pose = relative_pose(first, second).to(device)
    return ScenePair(image0, image1, depth0, depth1, first.intrinsics, second.intrinsics, pose)


def _draw_cameras(
    sheets: Sheets, size: tuple[int, int], generator: torch.Generator, difficulty: float, hard: bool
) -> tuple[Cameras, Cameras]:
    """Of CANDIDATES pairs of cameras, the one whose overlap is nearest to a random target."""
    device = sheets.photos.device
    shape = (len(sheets.photos), CANDIDATES)
    middle = 1 / sheets.inverse.flatten(1).median(dim=1).values.cpu()
    zoom = torch.exp(uniform(generator, shape, -0.2, 0.4))
    low, high = (math.log(2), math.log(4)) if hard else (0.0, difficulty * math.log(1.8))
    sign = torch.where(uniform(generator, shape) < 0.5, -1.0, 1.0)
    ratio = torch.exp(sign * uniform(generator, shape, low, high))
    zooms = (zoom / ratio.sqrt(), zoom * ratio.sqrt())
    both = [_cameras(sheets, size, each, middle, generator, difficulty) for each in zooms]
    points = _points(sheets)
    shown = [_inside(cameras, points, size) for cameras in both]
    counts = [each.float().mean(dim=2) for each in shown]
    common = (shown[0] & shown[1]).float().mean(dim=2)
    overlap = common / (counts[0] * counts[1]).sqrt().clamp(min=1e-6)
    wished = uniform(generator, (shape[0], 1), 0.75 - 0.5 * difficulty, 0.95)
    wished = torch.minimum(wished, 0.9 / torch.maximum(ratio, 1 / ratio))
    miss = (overlap - wished).abs() + (torch.minimum(*counts) < LEAST)
    best = miss.argmin(dim=1)
    first, second = (Cameras(*(part.to(device) for part in cameras.select(best))) for cameras in both)
    return first, second


def _cameras(
    sheets: Sheets,
    size: tuple[int, int],
    zoom: Tensor,
    middle: Tensor,
    generator: torch.Generator,
    difficulty: float,
) -> Cameras:
    """Cameras (B, C) beside the one of the photo, which look at points of the sheet's middle depth."""
    shape = zoom.shape
    intrinsics = sheets.intrinsics.cpu()
    height, width = sheets.photos.shape[-2:]
    focal = intrinsics[:, :1, 0] * min(size) / min(height, width) * zoom
    reach = torch.tensor([0.3, 0.2, 0.2]) * (0.2 + 0.8 * difficulty)
    position = middle[:, None, None] * reach * uniform(generator, (*shape, 3), -1.0, 1.0)
    pixel = torch.tensor([width, height]) * uniform(generator, (*shape, 2), 0.3, 0.7)
    aim = torch.cat([pixel, torch.ones(*shape, 1)], dim=2) @ torch.linalg.inv(intrinsics).transpose(1, 2)
    roll = uniform(generator, shape, -0.3, 0.3) * difficulty
    rotation = look_at(position, aim * middle[:, None, None], roll)
    centre = torch.full(shape, size[1] / 2 - 0.5), torch.full(shape, size[0] / 2 - 0.5)
    return Cameras(intrinsics_matrix(focal, *centre), rotation, position)


def _points(sheets: Sheets) -> Tensor:
    """(B, 3, JUDGED²) points of the sheet, on the CPU."""
    step = (torch.arange(JUDGED) + 0.5) / JUDGED * 2 - 1
    y, x = torch.meshgrid(step, step, indexing="ij")
    grid = torch.stack((x, y), dim=-1).expand(len(sheets.photos), -1, -1, -1)
    depth = 1 / F.grid_sample(sheets.inverse.cpu(), grid, align_corners=False).flatten(1)
    height, width = sheets.photos.shape[-2:]
    places = torch.stack(((x + 1) / 2 * width - 0.5, (y + 1) / 2 * height - 0.5, torch.ones_like(x))).flatten(1)
    return torch.linalg.inv(sheets.intrinsics.cpu()) @ places * depth[:, None]


def _inside(cameras: Cameras, points: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, N): which points (B, 3, N) the cameras (B, C) show."""
    places, depth = project(cameras, points[:, None])
    limits = torch.tensor([size[1], size[0]], dtype=torch.float32)[:, None]
    return (depth > 0) & ((places >= 0) & (places < limits)).all(dim=2)


def _render(sheets: Sheets, pyramid: Pyramid, cameras: Cameras, behind: Tensor) -> tuple[Tensor, Tensor]:
    """Image (B, 1, H, W) and z-depth (B, H, W)."""
    size = (behind.shape[-2], behind.shape[-1])
    rays = pixel_rays(cameras, pixel_grid(size, behind.device))
    depth, found = march(sheets, rays)
    grid, _ = _seen_from_the_photo(sheets, rays, depth)
    trust = F.grid_sample(sheets.trusted, grid[:, None], align_corners=False)[:, 0, 0]
    u, v = (((grid[..., axis] + 1) / 2).unflatten(1, size) for axis in (0, 1))
    image = torch.where(found.unflatten(1, size)[:, None], sample(pyramid, u, v), behind)
    return image.clamp(0, 1), torch.where(found & (trust > 0.999), depth, 0.0).unflatten(1, size)


def march(sheets: Sheets, rays: Rays) -> tuple[Tensor, Tensor]:
    """z-depths (B, N) of where rays first meet the sheet, and whether they do."""
    low, high = (sheets.inverse.flatten(1).amax(dim=1) * 2, sheets.inverse.flatten(1).amin(dim=1) * 0.7)
    inverses = torch.lerp(low[:, None], high[:, None], torch.linspace(0, 1, MARCH_STEPS + 1, device=low.device))
    depth = 1 / inverses
    before = depth[:, :1].expand(-1, rays.direction.shape[-1])
    open_air = behind(sheets, rays, before) < 0  # else the ray starts behind the sheet
    near, far, found = before, before, torch.zeros_like(open_air)
    for step in range(1, MARCH_STEPS + 1):
        here = depth[:, step : step + 1].expand_as(before)
        crossed = open_air & (behind(sheets, rays, here) >= 0)
        near, far = torch.where(crossed, before, near), torch.where(crossed, here, far)
        found, open_air, before = found | crossed, open_air & ~crossed, here
    depth = _refine(sheets, rays, near, far)
    grid, _ = _seen_from_the_photo(sheets, rays, depth)
    return depth, found & (grid.abs() <= 1).all(dim=2)


def behind(sheets: Sheets, rays: Rays, depth: Tensor) -> Tensor:
    """How far the points at z-depth (B, N) of the rays are behind the sheet, relative; -1 beyond the photo."""
    grid, z = _seen_from_the_photo(sheets, rays, depth)
    inverse = F.grid_sample(sheets.inverse, grid[:, None], padding_mode="border", align_corners=False)[:, 0, 0]
    return torch.where((z > 0) & (grid.abs() <= 1).all(dim=2), z * inverse - 1, -1.0)


def _seen_from_the_photo(sheets: Sheets, rays: Rays, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Places (B, N, 2) in the photo, from -1 to 1, and z-depths (B, N) there, of points of the rays."""
    image = sheets.intrinsics @ torch.addcmul(rays.origin, rays.direction, depth[:, None])
    z = image[:, 2]
    height, width = sheets.photos.shape[-2:]
    safe = z.clamp(min=1e-6)
    x, y = (image[:, 0] / safe + 0.5) * (2 / width) - 1, (image[:, 1] / safe + 0.5) * (2 / height) - 1
    return torch.stack((x, y), dim=-1), z


def _refine(sheets: Sheets, rays: Rays, near: Tensor, far: Tensor) -> Tensor:
    """The crossing in [near, far]: bisection for edges, then a secant for smooth surfaces."""
    for _ in range(BISECTIONS):
        middle = 0.5 * (near + far)
        beyond = behind(sheets, rays, middle) >= 0
        near, far = torch.where(beyond, near, middle), torch.where(beyond, middle, far)
    above, under = -behind(sheets, rays, near).clamp(max=0), behind(sheets, rays, far).clamp(min=0)
    return near + (far - near) * (above / (above + under).clamp(min=1e-9)).clamp(0, 1)
