"""A stage of boxes seen by two cameras: rays, faces, light; silhouettes and other edges are sampled finer."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.boxes import Boxes, Hits, cast, in_sight
from astr_cli.scenes.faces import Cell, FaceHits, Grid, Skin, enter_grid, face_hits, footprint, pick
from astr_cli.scenes.geometry import Cameras, ScenePair, pixel_grid, pixel_rays, relative_pose
from astr_cli.scenes.tiles import Palette, Tiles, sample_tiles, sample_tiles_roughly
from astr_cli.scenes.views import ViewPair

RAYS_AT_ONCE = 2**22  # bounds the memory of a rendering: some hundred bytes per ray
RAYS_AT_ONCE_CPU = 2**15  # keeps them in its cache; and boxes out of one view's sight are left out
EDGE_SHARE = 10  # one pixel in this many is sampled again, at SUBPIXELS places
SUBPIXELS = ((-0.33, -0.17), (0.33, -0.17), (0.0, 0.34))
GRAIN_SPAN = 0.5  # world units of a tile of grain
EXPOSURE = 0.45  # mean grey of a pair; the same gain serves both views
DIRT_SPAN = 5.0  # world units of the coarse noise


class BoxScene(NamedTuple):
    """B scenes of boxes."""

    boxes: Boxes
    skin: Skin
    grid: Grid
    tiles: Tiles
    palette: Palette
    dirt: Tensor  # (B, 1, N, N) coarse noise in [0, 1]
    chances: Tensor  # (B, CHANCES) in [0, 1]

    def rows(self, index: slice) -> "BoxScene":
        """Some of the scenes."""
        skin, grid = Skin(*(field[index] for field in self.skin)), Grid(*(field[index] for field in self.grid))
        boxes, tiles = self.boxes.rows(index), self.tiles.rows(index)
        return BoxScene(boxes, skin, grid, tiles, self.palette, self.dirt[index], self.chances[index])


class RenderedView(NamedTuple):
    image: Tensor  # (B, 1, H, W), not yet exposed: of any brightness
    depth: Tensor  # (B, H, W)


class Shading(NamedTuple):
    grey: Tensor  # (B, N)
    depth: Tensor  # (B, N), inf where there is nothing
    region: Tensor  # (B, N) a number that changes where one surface ends and the next begins


def render_box_scene(stage: BoxScene, views: ViewPair, behind: tuple[Tensor, Tensor]) -> ScenePair:
    """Both views of a stage before the skies `behind` (B, 1, H, W), where depth is 0."""
    first, second = (render_view(stage, cameras, sky) for cameras, sky in zip(views, behind, strict=True))
    mean = 0.5 * (first.image + second.image).mean(dim=(1, 2, 3), keepdim=True)
    gain = (EXPOSURE / mean.clamp(min=1e-3)).clamp(0.6, 2.5)
    image0, image1 = ((view.image * gain).clamp(0, 1) for view in (first, second))
    pose = relative_pose(views.cameras0, views.cameras1)
    k0, k1 = views.cameras0.intrinsics, views.cameras1.intrinsics
    return ScenePair(image0, image1, first.depth, second.depth, k0, k1, pose)


def render_view(stage: BoxScene, cameras: Cameras, sky: Tensor) -> RenderedView:
    """One view of a stage, a bounded number of rays at a time."""
    height, width = sky.shape[-2:]
    at_once = RAYS_AT_ONCE_CPU if sky.device.type == "cpu" else RAYS_AT_ONCE
    rows = max(1, at_once // (height * width))
    parts = []
    for start in range(0, len(sky), rows):
        part = slice(start, start + rows)
        parts.append(_render(stage.rows(part), Cameras(*(field[part] for field in cameras)), sky[part]))
    return RenderedView(torch.cat([view.image for view in parts]), torch.cat([view.depth for view in parts]))


def _render(stage: BoxScene, cameras: Cameras, sky: Tensor) -> RenderedView:
    size = (sky.shape[-2], sky.shape[-1])
    pixels = pixel_grid(size, sky.device)
    among = in_sight(stage.boxes, cameras, size)
    shading = shade(stage, cameras, pixels, sky.flatten(1), among)
    chosen = _edges(shading, size)
    grey = shading.grey.scatter(1, chosen, _finer(stage, cameras, pixels, chosen, sky.flatten(1), among))
    depth = shading.depth.masked_fill(shading.depth == math.inf, 0.0)
    return RenderedView(grey.view(-1, 1, *size), depth.view(-1, *size))


def _edges(shading: Shading, size: tuple[int, int]) -> Tensor:
    """(B, E) pixels on edges, then others; E is a fixed share, so that no size depends on what is seen."""
    count = size[0] * size[1]
    region = shading.region.view(-1, *size)
    score = torch.zeros_like(region)
    down, right = region[:, 1:] != region[:, :-1], region[:, :, 1:] != region[:, :, :-1]
    score[:, 1:] += down
    score[:, :-1] += down
    score[:, :, 1:] += right
    score[:, :, :-1] += right
    # Ties are broken by a fixed scatter of the pixels, so that no corner of the image is favoured.
    scatter = (torch.arange(count, device=score.device) * 7919 % count) / count
    return (score.flatten(1).clamp(max=1) + scatter).topk(max(1, count // EDGE_SHARE), dim=1).indices


def _finer(stage: BoxScene, cameras: Cameras, pixels: Tensor, chosen: Tensor, sky: Tensor, among: list[int]) -> Tensor:
    """(B, E) grey of the chosen pixels, as the mean of several places in each."""
    centre = pixels.expand(len(chosen), -1, -1).gather(2, chosen[:, None].expand(-1, 3, -1))
    places = centre.new_tensor([(*place, 0.0) for place in SUBPIXELS])
    moved = (centre[..., None] + places.T[None, :, None]).flatten(2)
    behind = sky.gather(1, chosen).repeat_interleave(len(SUBPIXELS), dim=1)
    return shade(stage, cameras, moved, behind, among).grey.unflatten(1, (-1, len(SUBPIXELS))).mean(dim=2)


def shade(stage: BoxScene, cameras: Cameras, pixels: Tensor, sky: Tensor, among: list[int]) -> Shading:
    """Grey and depth at homogeneous pixels (3, N) or (B, 3, N) of boxes `among` them all, before the sky (B, N)."""
    rays = pixel_rays(cameras, pixels)
    hits = cast(stage.boxes, rays, among)
    seen = hits.depth < math.inf
    solid = Hits(hits.depth.masked_fill(~seen, 1.0), hits.box)
    frame = face_hits(stage.boxes, solid, rays)
    skin, grid = Skin(*pick(stage.skin, frame.face)), Grid(*pick(stage.grid, frame.face))
    cell = enter_grid(grid, stage.chances, frame)
    covered = footprint(frame, rays, solid.depth, cameras.intrinsics[:, 0, :1])
    grey = _surface(stage, skin, grid, frame, cell, covered)
    grey = sky + seen * (grey - sky)
    region = 16 * frame.face + 4 * cell.parity + 2 * cell.inside + cell.pane
    return Shading(grey, hits.depth + cell.further, region * seen)


def _surface(stage: BoxScene, skin: Skin, grid: Grid, frame: FaceHits, cell: Cell, covered: Tensor) -> Tensor:
    """(B, N) grey of what is hit: wall, hole side or pane, under its light, with grain and dirt."""
    p, q, into = cell.point
    other = (cell.chance < grid.other_share).float()
    tile = skin.tile + cell.pane * (grid.pane + other * (grid.other_pane - grid.pane) - skin.tile)
    wall_u, wall_v = (p + into) / skin.scale + skin.shift_u, (q + into) / skin.scale + skin.shift_v
    u, v = wall_u + cell.pane * (cell.u - wall_u), wall_v + cell.pane * (cell.v - wall_v)
    span = skin.scale + cell.pane * (2 * torch.maximum(grid.half_p, grid.half_q) - skin.scale)
    texture = sample_tiles(stage.tiles, tile, u, v, covered / (span * span))

    wall = skin.base + skin.contrast * (texture - 0.5)
    bare = texture * (1 + grid.variation * (cell.chance - 0.5))
    light = skin.light * (1 + cell.trim * (grid.trim_light - 1)) * (1 - 0.3 * (cell.inside - cell.pane))
    light = light * (1 - 0.25 * torch.exp(-12.0 * frame.edge.clamp(min=0)))
    grain_u, grain_v = wall_u * (skin.scale / GRAIN_SPAN), wall_v * (skin.scale / GRAIN_SPAN)
    fine = torch.full_like(tile, float(stage.palette.grain))
    grain = sample_tiles_roughly(stage.tiles, fine, grain_u, grain_v, covered / GRAIN_SPAN**2) - 0.5
    place = torch.stack((p / DIRT_SPAN + skin.shift_u, q / DIRT_SPAN + skin.shift_v), dim=-1)[:, None]
    dirt = F.grid_sample(stage.dirt, place, padding_mode="reflection", align_corners=False)[:, 0, 0] - 0.5
    body = wall + cell.pane * (bare - wall)
    rough = 1 - 0.7 * cell.pane
    return body * light * (1 + rough * (skin.grain * grain + skin.dirt * dirt))
