"""Objects that float before a scene and hide parts of it, in both views: curved blobs and boxes, with exact depth."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.geometry import ScenePair, chance, pixel_grid, uniform

OBJECTS = 3  # per pair at most
NEAREST, FARTHEST = 0.35, 0.85  # depth of an object, as a share of the scene's middle depth
SMALLEST, LARGEST = 0.04, 0.16  # radius, as a share of the image's width
DARKEST = 0.6  # of the side that turns away from the light


class Objects(NamedTuple):
    """One object per pair, in the frame of a camera: points X with norm(shape @ (X - centre)) = 1."""

    shape: Tensor  # (B, 3, 3)
    centre: Tensor  # (B, 3)
    box: Tensor  # (B,) bool: the norm is the largest absolute value, else the Euclidean one


def add_floating(scene: ScenePair, skins: Tensor, generator: torch.Generator) -> ScenePair:
    """The scene with up to OBJECTS objects per pair, whose surface is a photo of skins (B, 1, h, w)."""
    device = scene.image0.device
    for _ in range(OBJECTS):
        objects = Objects(*(part.to(device) for part in _draw(scene, generator)))
        light = F.normalize(uniform(generator, (len(skins), 3), -1.0, 1.0), dim=1).to(device)
        image0, depth0 = _put(scene.image0, scene.depth0, scene.intrinsics0, objects, skins, light)
        image1, depth1 = _put(scene.image1, scene.depth1, scene.intrinsics1, _moved(objects, scene.pose), skins, light)
        scene = scene._replace(image0=image0, image1=image1, depth0=depth0, depth1=depth1)
    return scene


def _draw(scene: ScenePair, generator: torch.Generator) -> Objects:
    """Objects of random place, size, shape and turn in the frame of camera 0; a third of them is absent."""
    count, height, width = scene.depth0.shape
    known = torch.where(scene.depth0 > 0, scene.depth0, math.nan).flatten(1)
    middle = known.nanmedian(dim=1).values.nan_to_num(1.0).cpu()
    depth = middle * uniform(generator, (count,), NEAREST, FARTHEST)
    pixel = torch.tensor([width, height]) * uniform(generator, (count, 2), 0.0, 1.0)
    inverse = torch.linalg.inv(scene.intrinsics0.cpu())
    centre = (inverse @ torch.cat([pixel, torch.ones(count, 1)], dim=1)[..., None])[..., 0] * depth[:, None]
    size = width * inverse[:, 0, 0].abs() * depth  # of the image's width there
    radii = size[:, None] * uniform(generator, (count, 3), SMALLEST, LARGEST)
    turn = torch.linalg.qr(torch.randn((count, 3, 3), generator=generator)).Q
    shape = turn / radii[..., None]
    shape[chance(generator, (count,), 1 / 3)] *= 1e6  # too small to be seen
    return Objects(shape, centre, chance(generator, (count,), 0.5))


def _moved(objects: Objects, pose: Tensor) -> Objects:
    """In the frame of camera 1."""
    rotation = pose[:, :3, :3]
    centre = (rotation @ objects.centre[..., None])[..., 0] + pose[:, :3, 3]
    return Objects(objects.shape @ rotation.transpose(1, 2), centre, objects.box)


def _put(
    image: Tensor, depth: Tensor, intrinsics: Tensor, objects: Objects, skins: Tensor, light: Tensor
) -> tuple[Tensor, Tensor]:
    """Image and depth with the objects where they are nearer than the scene."""
    size = (depth.shape[-2], depth.shape[-1])
    rays = torch.linalg.inv(intrinsics) @ pixel_grid(size, depth.device)
    found = hit(objects, rays)
    place = objects.shape @ (rays * found[:, None] - objects.centre[..., None])  # (B, 3, N) on the unit shape
    u, v = place[:, 0] + 0.3 * place[:, 2], place[:, 1] + 0.3 * place[:, 2]
    grid = (torch.stack((u, v), dim=-1) / 1.3).unflatten(1, size)
    colour = F.grid_sample(skins, grid, padding_mode="reflection", align_corners=False)
    lit = (F.normalize(place, dim=1) * light[..., None]).sum(dim=1).clamp(min=0).unflatten(1, size)
    found = found.unflatten(1, size)
    nearer = (found > 0) & ((depth == 0) | (found < depth))
    shaded = colour * (DARKEST + (1 - DARKEST) * lit[:, None])
    return torch.where(nearer[:, None], shaded, image), torch.where(nearer, found, depth)


def hit(objects: Objects, rays: Tensor) -> Tensor:
    """z-depths (B, N) of where rays (B, 3, N), from the camera, first meet the objects; 0 where they miss them."""
    along, start = objects.shape @ rays, -(objects.shape @ objects.centre[..., None])
    return torch.where(objects.box[:, None], _hit_box(along, start), _hit_ball(along, start))


def _hit_ball(along: Tensor, start: Tensor) -> Tensor:
    """Smallest z with norm(start + z * along) = 1."""
    a, b, c = along.square().sum(1), (along * start).sum(1), start.square().sum(1) - 1
    under = b.square() - a * c
    z = (-b - under.clamp(min=0).sqrt()) / a.clamp(min=1e-12)
    return torch.where((under > 0) & (z > 0), z, 0.0)


def _hit_box(along: Tensor, start: Tensor) -> Tensor:
    """Smallest z with a largest absolute value of 1."""
    inverse = 1 / torch.where(along.abs() < 1e-9, 1e-9, along)
    ends = (-1 - start) * inverse, (1 - start) * inverse
    near, far = torch.minimum(*ends).amax(1), torch.maximum(*ends).amin(1)
    return torch.where((near < far) & (near > 0), near, 0.0)
