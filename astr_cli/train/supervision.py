"""Ground truth of a rendered pair from depth, intrinsics and pose. As in LoFTR, it warps the centres of 1/8 cells
(docs/model.md, Truth)."""

from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.scenes.geometry import ScenePair

# Depths that differ by more than this share belong to two surfaces: an edge or an occlusion.
SAME_SURFACE = 0.03


class Supervision(NamedTuple):
    """True matches of B pairs. Cells are flat 1/8 cells; points are matched pixels, pixel centre at (0, 0)."""

    batch: Tensor  # (G,) int64, pair of each mutual match
    cells0: Tensor  # (G,) int64
    cells1: Tensor  # (G,) int64
    offsets0: Tensor  # (G, 2), true partner of the centre of cells1, relative to the centre of cells0
    offsets1: Tensor  # (G, 2), true partner of the centre of cells0, relative to the centre of cells1
    ratios: Tensor  # (G,), size of a thing in image1 divided by its size in image0
    alone0: Tensor  # (B, N0) bool, cells of image0 known to have no partner
    alone1: Tensor  # (B, N1) bool


class Warp(NamedTuple):
    """Cell centres of one image in the other."""

    points: Tensor  # (B, N, 2) pixels in the other image
    valid: Tensor  # (B, N) bool: seen there, on the same surface
    hidden: Tensor  # (B, N) bool: known to be invisible there
    ratios: Tensor  # (B, N) size there divided by size here


@torch.no_grad()
def supervise(scene: ScenePair) -> Supervision:
    """Mutual nearest 1/8 cells of both warps, and the exact position of each warped centre."""
    forward = warp_cells(scene.depth0, scene.depth1, scene.intrinsics0, scene.intrinsics1, scene.pose)
    back = warp_cells(scene.depth1, scene.depth0, scene.intrinsics1, scene.intrinsics0, torch.linalg.inv(scene.pose))
    width0, width1 = scene.depth0.shape[2] // 8, scene.depth1.shape[2] // 8
    there = nearest_cell(forward.points, (scene.depth1.shape[1] // 8, width1))
    return_trip = nearest_cell(back.points, (scene.depth0.shape[1] // 8, width0))
    cell = torch.arange(there.shape[1], device=there.device)
    target = there.clamp(min=0)
    mutual = forward.valid & (there >= 0) & back.valid.gather(1, target) & (return_trip.gather(1, target) == cell)
    batch, cells0 = mutual.nonzero(as_tuple=True)
    cells1 = there[batch, cells0]
    return Supervision(
        batch,
        cells0,
        cells1,
        back.points[batch, cells1] - centres(cells0, width0),
        forward.points[batch, cells0] - centres(cells1, width1),
        forward.ratios[batch, cells0],
        forward.hidden,
        back.hidden,
    )


def warp_cells(depth: Tensor, other: Tensor, intrinsics: Tensor, intrinsics_other: Tensor, pose: Tensor) -> Warp:
    """Warp the cell centres of the image with `depth` (B, H, W) into the one with depth `other`."""
    b, height, width = depth.shape
    cells = torch.arange((height // 8) * (width // 8), device=depth.device)
    points = centres(cells, width // 8).expand(b, -1, -1)
    z, known = sample_depth(depth, points)
    ones = torch.ones_like(points[..., :1])
    rays = torch.cat([points, ones], dim=2) @ torch.linalg.inv(intrinsics).transpose(1, 2)
    moved = (rays * z[..., None]) @ pose[:, :3, :3].transpose(1, 2) + pose[:, None, :3, 3]
    z_there = moved[..., 2]
    projected = moved @ intrinsics_other.transpose(1, 2)
    there = projected[..., :2] / projected[..., 2:].clamp(min=1e-6)
    size = torch.tensor([other.shape[2], other.shape[1]], device=depth.device)
    inside = (z_there > 1e-6) & ((there >= -0.5) & (there <= size - 0.5)).all(dim=2)
    seen, seen_known = sample_depth(other, there)
    same = seen_known & ((seen - z_there).abs() < SAME_SURFACE * z_there)
    occluded = seen_known & (seen < z_there * (1 - 2 * SAME_SURFACE))
    focal, focal_there = intrinsics[:, 0, 0], intrinsics_other[:, 0, 0]
    ratios = (focal_there / focal)[:, None] * z / z_there.clamp(min=1e-6)
    there = torch.where(inside[..., None], there, -1e6)
    return Warp(there, known & inside & same, known & (~inside | occluded), ratios)


def sample_depth(depth: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (B, H, W) at points (B, N, 2), bilinear in 1/depth (exact on planes), and whether it is known."""
    height, width = depth.shape[1:]
    x = points[..., 0].clamp(0, width - 1)
    y = points[..., 1].clamp(0, height - 1)
    left, top = x.floor().clamp(max=width - 2).long(), y.floor().clamp(max=height - 2).long()
    fx, fy = x - left, y - top
    flat = depth.flatten(1)
    index = top * width + left
    corners = torch.stack([flat.gather(1, index + step) for step in (0, 1, width, width + 1)])
    low, high = corners.min(dim=0).values, corners.max(dim=0).values
    known = (low > 0) & (high - low < SAME_SURFACE * high)
    weights = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy])
    inverse = (weights / corners.clamp(min=1e-6)).sum(dim=0)
    return torch.where(known, 1 / inverse, 1.0), known


def nearest_cell(points: Tensor, grid: tuple[int, int]) -> Tensor:
    """Flat cell that each point (B, N, 2) falls in, -1 outside of the grid."""
    column = ((points[..., 0] + 0.5) / 8).floor().long()
    row = ((points[..., 1] + 0.5) / 8).floor().long()
    inside = (column >= 0) & (column < grid[1]) & (row >= 0) & (row < grid[0])
    return torch.where(inside, row * grid[1] + column, -1)


def centres(cells: Tensor, width: int) -> Tensor:
    """Centres of flat 1/8 cells, (..., 2) x, y in pixels."""
    return torch.stack([cells % width, cells // width], dim=-1).float() * 8 + 3.5
