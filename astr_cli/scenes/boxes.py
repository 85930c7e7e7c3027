"""Ray casting of boxes: rooms, furniture, buildings; exact, in closed form, batched over scenes."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.scenes.geometry import Cameras, Rays

NEAREST = 1e-3  # world units: closer than this to the camera nothing is seen
NUDGE = 1e-12  # keeps the inverse of a direction finite


class Boxes(NamedTuple):
    """K boxes in each of B scenes, all upright."""

    centre: Tensor  # (B, K, 3) in the world
    turn: Tensor  # (B, K, 3, 3) world axes to box axes
    half: Tensor  # (B, K, 3) half sides
    turned: tuple[bool, ...]  # of each of the K, whether it is turned in any scene: those along the axes cost less
    room: bool = False  # whether box 0 of each scene is a room, seen from inside

    def rows(self, index: slice) -> "Boxes":
        """The boxes of some of the scenes."""
        return self._replace(centre=self.centre[index], turn=self.turn[index], half=self.half[index])


class Slopes(NamedTuple):
    """Rays in the axes of some box: (B, 3, N) each, where the direction counts."""

    inverse: Tensor  # 1 / direction
    size: Tensor  # its absolute value


class Hits(NamedTuple):
    """The first box that each ray meets."""

    depth: Tensor  # (B, N) z-depth, inf where there is nothing
    box: Tensor  # (B, N) int64, 0 where there is nothing


def cast(boxes: Boxes, rays: Rays, among: Sequence[int] | None = None) -> Hits:
    """The first box on every ray, of all or `among` some; each ray alone decides what it meets."""
    depth = torch.full_like(rays.direction[:, 0], math.inf)
    box = torch.zeros_like(depth)
    straight = _slopes(rays.direction)
    for k in range(boxes.centre.shape[1]) if among is None else among:
        apart = rays.origin - boxes.centre[:, k, :, None]
        if boxes.turned[k]:
            turn = boxes.turn[:, k]
            near, far = _span(turn @ apart, _slopes(turn @ rays.direction), boxes.half[:, k])
        else:
            near, far = _span(apart, straight, boxes.half[:, k])
        found = far if boxes.room and k == 0 else near
        found = found.masked_fill((near >= far).logical_or_(found < NEAREST), math.inf)
        # Arithmetic in place of torch.where, which takes several times as long on a CPU.
        box += (found < depth) * (k - box)
        depth = torch.minimum(depth, found)
    return Hits(depth, box.long())


def _slopes(direction: Tensor) -> Slopes:
    inverse = (direction + NUDGE).reciprocal_()
    return Slopes(inverse, inverse.abs())


def _span(origin: Tensor, slopes: Slopes, half: Tensor) -> tuple[Tensor, Tensor]:
    """Depths (B, N) at which rays enter and leave a box; enter >= leave where they miss it."""
    middle = -origin * slopes.inverse
    reach = slopes.size * half[..., None]
    enter, leave = (middle - reach).unbind(1), middle.add_(reach).unbind(1)
    near = torch.maximum(torch.maximum(enter[0], enter[1]), enter[2])
    return near, torch.minimum(torch.minimum(leave[0], leave[1]), leave[2])


def in_sight(boxes: Boxes, cameras: Cameras, size: tuple[int, int]) -> list[int]:
    """The boxes that images of `size` (H, W) by the cameras (B, ...) can show, give or take a pixel."""
    ends = torch.tensor((-1.0, 1.0), device=boxes.half.device)
    corners = boxes.half[:, :, None] * torch.cartesian_prod(ends, ends, ends)  # (B, K, 8, 3)
    corners = corners @ boxes.turn + boxes.centre[:, :, None]
    apart = (corners - cameras.position[:, None, None]).transpose(-1, -2)
    x, y, z = ((cameras.intrinsics @ cameras.rotation)[:, None] @ apart).unbind(-2)  # (B, K, 8)
    beyond = torch.stack((x + z, y + z, (size[1] * z - x), (size[0] * z - y), z - NEAREST)) < 0
    hidden = beyond.all(dim=-1).any(dim=0)  # all corners beyond one side of the view
    return [k for k, seen in enumerate((~hidden).any(dim=0).tolist()) if seen]


def clearance(boxes: Boxes, points: Tensor) -> Tensor:
    """Least distance (B, C), along some axis of a box, of points (B, C, 3) to all boxes; negative inside of one.

    A room counts the other way round: positive inside of it.
    """
    apart = points[:, :, None] - boxes.centre[:, None]
    local = (boxes.turn[:, None] @ apart[..., None])[..., 0]
    outside = (local.abs() - boxes.half[:, None]).amax(dim=-1)
    if boxes.room:
        outside = torch.cat((-outside[..., :1], outside[..., 1:]), dim=-1)
    return outside.amin(dim=-1)


def yaw(angle: Tensor) -> Tensor:
    """(..., 3, 3) world-to-box axes of boxes turned by angle (...) radians about the vertical."""
    cos, sin = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    return torch.stack((cos, zero, sin, zero, one, zero, -sin, zero, cos), dim=-1).unflatten(-1, (3, 3))
