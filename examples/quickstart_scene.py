"""Renders photos of a small courtyard with known cameras: FOLDER/images/*.jpg, FOLDER/pairs.txt, FOLDER/gt.json.

Two walls, a floor and a turned box, covered with procedural textures from a seed of their own. Run as
    python examples/quickstart_scene.py FOLDER [--scale 4]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import ExifTags, Image
from torch import Tensor

from astr_cli.scenes.geometry import Cameras, intrinsics_matrix, look_at, pixel_grid, pixel_rays
from astr_cli.scenes.textures import procedural_textures
from astr_cli.scenes.texturing import build_pyramid, sample

SEED = 20_240_229
VIEWS = 6
WIDTH, HEIGHT = 640, 480  # at scale 1
FOCAL_35MM = 33  # millimetres on 35 mm film, as EXIF has it
SUPERSAMPLING = 2
TEXELS = 768  # a side of each texture
EXPOSURES = (1.0, 0.8, 1.15, 0.9, 1.05, 0.75)


class Rectangle(NamedTuple):
    """The points corner + u * across + v * down with u, v in [0, 1]; world metres, y points down."""

    corner: Tensor  # (3,)
    across: Tensor  # (3,)
    down: Tensor  # (3,)


def courtyard(variant: int = 0) -> list[Rectangle]:
    """Two walls that meet in a corner, the floor between them and a box on the floor, elsewhere in each variant."""
    walls = [
        ((-5, -5, 6), (9, 0, 0), (0, 5, 0)),
        ((4, -5, 6), (0, 0, -8), (0, 5, 0)),
        ((-5, 0, 6), (9, 0, 0), (0, 0, -8)),
    ]
    return [Rectangle(*(torch.tensor(part, dtype=torch.float32) for part in wall)) for wall in walls] + box(variant)


def box(variant: int = 0) -> list[Rectangle]:
    """The four sides and the lid of a box, 1.8 m wide and deep and 1.5 m high, turned by 25 degrees and more."""
    turn, half, height = math.radians(25 + 37 * variant), 0.9, 1.5
    middle = torch.tensor((0.3 - 0.9 * math.sin(variant), 0.0, 3.6 + 0.8 * math.sin(2 * variant)))
    up = torch.tensor((0.0, -height, 0.0))
    side = torch.tensor((math.cos(turn), 0.0, math.sin(turn))) * half
    depth = torch.tensor((-math.sin(turn), 0.0, math.cos(turn))) * half
    ring = [middle - side - depth, middle + side - depth, middle + side + depth, middle - side + depth]
    faces = [Rectangle(a + up, b - a, -up) for a, b in zip(ring, ring[1:] + ring[:1], strict=True)]
    return [*faces, Rectangle(ring[3] + up, ring[2] - ring[3], ring[0] - ring[3])]


def detailed_textures(count: int, scale: int, generator: torch.Generator) -> Tensor:
    """(count, 1, TEXELS * scale, TEXELS * scale) in [0, 1]: patterns as at scale 1, with details as fine as there.

    Enlarged patterns alone would be smooth at the size of a pixel, which the surfaces of real photos are not.
    """
    patterns = procedural_textures(count, (TEXELS, TEXELS), generator)
    if scale == 1:
        return patterns
    tiles = procedural_textures(count * scale * scale, (TEXELS, TEXELS), generator)
    rows = tiles.view(count, scale, scale, TEXELS, TEXELS).transpose(2, 3)
    details = rows.reshape(count, 1, scale * TEXELS, scale * TEXELS)
    large = F.interpolate(patterns, scale_factor=scale, mode="bilinear", align_corners=False)
    return (large + details) / 2


def cameras(variant: int = 0, views: int = VIEWS, scale: int = 1) -> Cameras:
    """Cameras on an arc at eye height, all looking into the corner; closer to it in later variants."""
    way = torch.linspace(-1, 1, views)
    position = torch.stack((2.6 * way - 0.9, -1.9 - 0.5 * torch.cos(3 * way), -2.2 - 0.9 * (1 - way * way)), dim=-1)
    position[:, 2] += 0.4 * variant
    target = torch.stack((0.5 + 0.5 * way, torch.full_like(way, -1.5), torch.full_like(way, 4.0)), dim=-1)
    focal = torch.full_like(way, FOCAL_35MM / math.hypot(36, 24) * math.hypot(WIDTH, HEIGHT) * scale)
    middle = [(side * scale - 1) / 2 + 0 * way for side in (WIDTH, HEIGHT)]
    intrinsics = intrinsics_matrix(focal, *middle)
    return Cameras(intrinsics, look_at(position, target, 0.05 * torch.sin(5 * way)), position)


def render(view: Cameras, scene: list[Rectangle], textures: Tensor, scale: int = 1) -> Tensor:
    """The photo (HEIGHT, WIDTH) * scale in [0, 1] of one camera (batch of 1): the nearest rectangles, or the sky."""
    height, width = HEIGHT * scale, WIDTH * scale
    fine = (height * SUPERSAMPLING, width * SUPERSAMPLING)
    pixels = pixel_grid(fine, textures.device)
    pixels[:2] = (pixels[:2] + 0.5) / SUPERSAMPLING - 0.5
    rays = pixel_rays(view, pixels)
    origin, direction = rays.origin[0], rays.direction[0]  # (3, 1), (3, N)
    image = 0.85 - 0.25 * (pixels[1] / height)
    nearest = torch.full_like(image, math.inf)
    for rectangle, texture in zip(scene, textures, strict=True):
        # origin + depth * direction = corner + u * across + v * down, and the two sides are at right angles
        normal = torch.linalg.cross(rectangle.across, rectangle.down)
        depth = (normal @ (rectangle.corner[:, None] - origin)) / (normal @ direction)
        point = origin + depth * direction - rectangle.corner[:, None]
        u = (rectangle.across @ point) / rectangle.across.square().sum()
        v = (rectangle.down @ point) / rectangle.down.square().sum()
        seen = (depth > 0) & (depth < nearest) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
        colour = sample(build_pyramid(texture[None]), u.view(1, *fine), v.view(1, *fine)).flatten()
        image = torch.where(seen, colour, image)
        nearest = torch.where(seen, depth, nearest)
    return F.avg_pool2d(image.view(1, 1, *fine), SUPERSAMPLING)[0, 0]


def exif() -> Image.Exif:
    """What a camera writes: its name, and how wide it sees."""
    tags = Image.Exif()
    tags[ExifTags.Base.Make], tags[ExifTags.Base.Model] = "astr", "courtyard"
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = FOCAL_35MM
    return tags


def write_scene(folder: Path, variant: int = 0, count: int = VIEWS, scale: int = 1) -> None:
    """Photos, the list of all pairs and the true cameras. Each variant has other textures and another arrangement.

    scale: of the photos and their textures; 4 gives photos of 2560 x 1920.
    """
    generator = torch.Generator().manual_seed(SEED + variant)
    scene, views = courtyard(variant), cameras(variant, count, scale)
    textures = detailed_textures(len(scene), scale, generator)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    truth: dict[str, object] = {}
    for k in range(count):
        view = Cameras(*(part[k : k + 1] for part in views))
        photo = render(view, scene, textures, scale) * EXPOSURES[k % len(EXPOSURES)]
        photo += 0.01 * torch.randn(photo.shape, generator=generator)
        name = f"courtyard{k}.jpg"
        image = Image.fromarray((photo.clamp(0, 1) * 255).byte().numpy())
        image.save(folder / "images" / name, quality=92, exif=exif())
        truth[name] = {
            "K": view.intrinsics[0].tolist(),
            "R": view.rotation[0].tolist(),
            "t": (-view.rotation[0] @ view.position[0]).tolist(),
            "size": [WIDTH * scale, HEIGHT * scale],
        }
    pairs = "".join(f"{name0} {name1}\n" for name0, name1 in itertools.combinations(truth, 2))
    (folder / "pairs.txt").write_text(pairs, encoding="utf-8")
    convention = "x = K (R X + t), world to camera; pixel (0, 0) is the CENTRE of the top-left pixel"
    gt = {"type": "pose", "convention": convention, "images": truth}
    (folder / "gt.json").write_text(json.dumps(gt), encoding="utf-8")
    print(f"{folder}: rendered {count} photos of {WIDTH * scale} x {HEIGHT * scale}, {len(pairs.splitlines())} pairs")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=int, default=1)
    arguments = parser.parse_args()
    write_scene(arguments.folder, scale=arguments.scale)
