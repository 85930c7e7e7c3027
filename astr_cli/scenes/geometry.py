"""Cameras that look at a rectangle, and the rays of their pixels.

World frame: the photo lies in the plane z = 0 with x to its right and y down, on |x| <= half_x, |y| <= half_y where
half_x * half_y = 1. Cameras stand at z < 0 and look towards +z; a relief rises from the plane towards -z.
Camera frames are x right, y down, z forward, and pixel (0, 0) is the centre of the top-left pixel.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class ScenePair(NamedTuple):
    """A batch of B rendered pairs, all float32 on one device."""

    image0: Tensor  # (B, 1, H, W) grey in [0, 1]
    image1: Tensor  # (B, 1, H, W)
    depth0: Tensor  # (B, H, W) z-depth, 0 = no surface there
    depth1: Tensor  # (B, H, W)
    intrinsics0: Tensor  # (B, 3, 3)
    intrinsics1: Tensor  # (B, 3, 3)
    pose: Tensor  # (B, 4, 4): X1 = pose @ X0, camera 0 frame to camera 1 frame


class Cameras(NamedTuple):
    """Cameras of any batch shape: x = K R (X - position)."""

    intrinsics: Tensor  # (..., 3, 3)
    rotation: Tensor  # (..., 3, 3) world to camera
    position: Tensor  # (..., 3) in the world

    def select(self, index: Tensor) -> "Cameras":
        """One of the K candidates of each row: (B, K, ...) and (B,) to (B, ...)."""
        rows = torch.arange(len(index), device=index.device)
        return Cameras(*(part[rows, index] for part in self))


class Rays(NamedTuple):
    """Pixel rays in the world; the point of z-depth d is origin + d * direction.

    Coordinates come before pixels here: a trailing dimension of 2 or 3 would cost several times as much on a CPU.
    """

    origin: Tensor  # (..., 3, 1)
    direction: Tensor  # (..., 3, N)


def uniform(generator: torch.Generator, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform float32 draws on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def chance(generator: torch.Generator, shape: tuple[int, ...], probability: float) -> Tensor:
    """Bool draws that are true with the given probability."""
    return torch.rand(shape, generator=generator, device=generator.device) < probability


def half_extents(photos: Tensor) -> tuple[float, float]:
    """Half width and half height of the photo's rectangle, of the photo's aspect and an area of 4."""
    aspect = photos.shape[-1] / photos.shape[-2]
    return math.sqrt(aspect), 1 / math.sqrt(aspect)


def look_at(position: Tensor, target: Tensor, roll: Tensor) -> Tensor:
    """World-to-camera rotations (..., 3, 3) of cameras at position (..., 3) that see target in their axis.

    The image's y axis follows the world's y axis, turned by roll (...) radians about the viewing axis.
    """
    forward = torch.nn.functional.normalize(target - position, dim=-1)
    world_down = torch.zeros_like(forward)
    world_down[..., 1] = 1
    right = torch.nn.functional.normalize(torch.linalg.cross(world_down, forward), dim=-1)
    down = torch.linalg.cross(forward, right)
    cos, sin = roll.cos()[..., None], roll.sin()[..., None]
    return torch.stack((cos * right + sin * down, cos * down - sin * right, forward), dim=-2)


def intrinsics_matrix(focal: Tensor, centre_x: Tensor, centre_y: Tensor) -> Tensor:
    """(..., 3, 3) with square pixels."""
    zero, one = torch.zeros_like(focal), torch.ones_like(focal)
    rows = (focal, zero, centre_x, zero, focal, centre_y, zero, zero, one)
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def pixel_grid(size: tuple[int, int], device: torch.device) -> Tensor:
    """(3, H * W) homogeneous pixel centres, row by row."""
    y, x = torch.meshgrid(
        torch.arange(size[0], dtype=torch.float32, device=device),
        torch.arange(size[1], dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack((x, y, torch.ones_like(x))).flatten(1)


def pixel_rays(cameras: Cameras, pixels: Tensor) -> Rays:
    """World rays of the homogeneous pixels (3, N) of every camera."""
    to_world = cameras.rotation.transpose(-1, -2) @ torch.linalg.inv(cameras.intrinsics)
    return Rays(cameras.position[..., None], to_world @ pixels)


def project(cameras: Cameras, points: Tensor) -> tuple[Tensor, Tensor]:
    """World points (..., 3, N) to pixels (..., 2, N) and z-depth (..., N)."""
    image = cameras.intrinsics @ (cameras.rotation @ (points - cameras.position[..., None]))
    depth = image[..., 2, :]
    return image[..., :2, :] / depth[..., None, :].clamp(min=1e-6), depth


def photo_axis(rays: Rays, depth: Tensor, axis: int, extent: float) -> Tensor:
    """(B, N): where rays are at depth (B, N) across (axis 0) or down (axis 1) the photo, in its widths or heights."""
    half = 0.5 / extent
    return torch.addcmul(rays.origin[:, axis] * half + 0.5, rays.direction[:, axis], depth, value=half)


def relative_pose(cameras0: Cameras, cameras1: Cameras) -> Tensor:
    """(B, 4, 4) with X1 = pose @ X0."""
    rotation = cameras1.rotation @ cameras0.rotation.transpose(-1, -2)
    shift = (cameras1.rotation @ (cameras0.position - cameras1.position)[..., None])[..., 0]
    pose = torch.eye(4, device=rotation.device).repeat(len(rotation), 1, 1)
    pose[:, :3, :3] = rotation
    pose[:, :3, 3] = shift
    return pose
