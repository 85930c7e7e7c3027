"""How much of each view the other one sees, and how much larger objects appear there."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.scenes.boxes import Boxes, cast
from astr_cli.scenes.geometry import Cameras, Rays, ScenePair, pixel_grid, pixel_rays, project

SAME_DEPTH = 0.03  # relative: within it two depths are of one surface


class Shares(NamedTuple):
    """Measured one way, from a view to the other one; any batch shape."""

    seen: Tensor  # share of the known pixels that the other view sees
    known: Tensor  # share of the pixels with a depth
    log_ratio: Tensor  # mean log of size there over size here, of surfaces that both see; 0 if there are none


def overlap(pair: ScenePair) -> Tensor:
    """(B,): geometric mean of the shares of each image's known pixels that the other image sees.

    A symmetric measure, as a close-up at scale ratio 4 fills a sixteenth of the other image at most.
    """
    back = torch.linalg.inv(pair.pose)
    first = shares(pair.depth0, pair.depth1, pair.intrinsics0, pair.intrinsics1, pair.pose)
    second = shares(pair.depth1, pair.depth0, pair.intrinsics1, pair.intrinsics0, back)
    return (first.seen * second.seen).sqrt()


def shares(depth: Tensor, other: Tensor, intrinsics: Tensor, intrinsics_other: Tensor, pose: Tensor) -> Shares:
    """Of the view with depth (B, H, W), how much the one with depth `other` (B, H1, W1) sees; all pixels are asked."""
    height, width = other.shape[-2:]
    flat = depth.flatten(1)
    points = torch.linalg.inv(intrinsics) @ pixel_grid((depth.shape[-2], depth.shape[-1]), depth.device) * flat[:, None]
    image = intrinsics_other @ (pose[:, :3, :3] @ points + pose[:, :3, 3:])
    there = image[:, 2]
    x, y = (image[:, :2] / there[:, None].clamp(min=1e-6)).round().unbind(1)
    known = flat > 0
    inside = known & (there > 1e-6) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = other.flatten(1).gather(1, (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).long())
    seen = inside & ((found - there).abs() < SAME_DEPTH * there)
    zoom = (intrinsics_other[:, 0, 0] / intrinsics[:, 0, 0])[:, None]
    return _summary(known, seen, torch.log((zoom * flat / there.clamp(min=1e-6)).clamp(min=1e-6)))


def cast_shares(boxes: Boxes, here: Cameras, there: Cameras, size: tuple[int, int], side: int) -> Shares:
    """Of the views `here` (B, C, ...), on side x side pixels, how much `there` (B, C, ...) sees: (B, C) each."""
    pixels = pixel_grid((side, side), boxes.centre.device)
    spread = pixels.new_tensor((size[1] / side, size[0] / side))
    pixels[:2] = (pixels[:2] + 0.5) * spread[:, None] - 0.5
    rays = pixel_rays(here, pixels)  # directions (B, C, 3, N)
    depth = _cast_each(boxes, rays)
    known = depth < math.inf
    depth = depth.masked_fill(~known, 1.0)
    points = rays.origin + depth[:, :, None] * rays.direction
    image, other_depth = project(there, points)
    x, y = image.unbind(-2)
    inside = known & (other_depth > 1e-3) & (x > -0.5) & (x < size[1] - 0.5) & (y > -0.5) & (y < size[0] - 0.5)
    direction = (points - there.position[..., None]) / other_depth[:, :, None].clamp(min=1e-6)
    found = _cast_each(boxes, Rays(there.position[..., None], direction))
    seen = inside & (found > other_depth * (1 - SAME_DEPTH))
    zoom = there.intrinsics[..., 0, 0] / here.intrinsics[..., 0, 0]
    return _summary(known, seen, torch.log(zoom[..., None] * depth / other_depth.clamp(min=1e-6)))


def _cast_each(boxes: Boxes, rays: Rays) -> Tensor:
    """z-depths (B, C, N) of rays (B, C, 3, N)."""
    count, candidates, _, number = rays.direction.shape
    origin, direction = (part.expand_as(rays.direction).transpose(1, 2).flatten(2) for part in rays)
    return cast(boxes, Rays(origin, direction)).depth.view(count, candidates, number)


def _summary(known: Tensor, seen: Tensor, log_ratio: Tensor) -> Shares:
    number = seen.float().sum(dim=-1)
    mean = torch.where(seen, log_ratio, 0.0).sum(dim=-1) / number.clamp(min=1)
    return Shares(number / known.float().sum(dim=-1).clamp(min=1), known.float().mean(dim=-1), mean)
