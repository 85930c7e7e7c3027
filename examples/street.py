"""A rendered street of houses with one facade, mapped without and with the check for repeats.

    python examples/street.py FOLDER [--seed 20260711] [--photos 20]

Each house has one detail of its own, of about 4% of its front. Writes FOLDER/images, FOLDER/off and FOLDER/drop, and
prints how many photos each model has, and how many of them stand more than 1% of the extent beside their place.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image

from astr_cli.scenes.textures import procedural_textures
from astr_cli.sfm.mapping.alignment import align
from astr_cli.sfm.mapping.mapper import camera_centres

SEED = 20_260_711  # of the street on which the thresholds of astr_cli/sfm/repeats were chosen
FOLLOWING = 6  # photos that each one is matched with
SIZE, FOCAL_35MM, SUPERSAMPLING = (512, 384), 22, 2
WIDE, HIGH, BAY, DETAIL = 6.0, 6.0, 0.9, 1.2  # metres: of a front, how far its bays stand out, and a detail's side
STEP, AWAY = 1.5, 8.5  # metres between photos, and to the fronts
TEXELS = 100  # per metre

Floats = NDArray[np.float64]
Picture = NDArray[np.float32]


class Rectangle(NamedTuple):
    """The points corner + u * across + v * down with u, v in [0, 1]; metres, y points down, the fronts look to -z."""

    corner: tuple[float, float, float]
    across: tuple[float, float, float]
    down: tuple[float, float, float]
    skin: Picture


class View(NamedTuple):
    """One camera: x = matrix (rotation X + shift)."""

    matrix: Floats  # (3, 3)
    rotation: Floats  # (3, 3)
    centre: Floats  # (3,)


def skins(count: int, wide: float, high: float, seed: int) -> list[Picture]:
    """`count` procedural textures for surfaces of wide x high metres, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    shape = (int(high * TEXELS), int(wide * TEXELS))
    return [np.asarray(each[0].numpy(), np.float32) for each in procedural_textures(count, shape, generator)]


def street(houses: int, seed: int) -> list[Rectangle]:
    """The rectangles, those behind before those before them; gaps of different widths between the houses."""
    generator = np.random.default_rng(seed)
    (wall,), (left, right) = skins(1, WIDE, HIGH, seed), skins(2, BAY, HIGH / 2, seed + 1)
    bays, (floor,) = skins(2, WIDE / 5, HIGH / 2, seed + 2), skins(1, WIDE, 4, seed + 3)
    details = skins(houses, DETAIL, DETAIL, seed + 4)
    grounds, fronts, sides, outer, own = [], [], [], [], []
    x = 0.0
    for house in range(houses):
        grounds.append(Rectangle((x, 0, 0), (WIDE, 0, 0), (0, 0, -4), 0.3 + 0.3 * floor))
        fronts.append(Rectangle((x, -HIGH, 0), (WIDE, 0, 0), (0, HIGH, 0), wall))
        for at, skin in zip((0.2, 0.6), bays, strict=True):
            start, width = x + at * WIDE, WIDE / 5
            top = (start, -0.9 * HIGH, -BAY)
            sides.append(Rectangle(top, (0, 0, BAY), (0, HIGH / 2, 0), left))
            sides.append(Rectangle((start + width, *top[1:]), (0, 0, BAY), (0, HIGH / 2, 0), right))
            outer.append(Rectangle(top, (width, 0, 0), (0, HIGH / 2, 0), skin))
        place = x + generator.uniform(0.1, WIDE - DETAIL - 0.1), -0.1 - DETAIL - generator.uniform(0, 0.8)
        own.append(Rectangle((*place, -0.02), (DETAIL, 0, 0), (0, DETAIL, 0), details[house]))
        x += WIDE + generator.uniform(0.3, 1.5)
    return grounds + fronts + own + sides + outer


def views(count: int, seed: int) -> list[View]:
    """Cameras along the street, each a little nearer or further, higher or lower, and turned a little."""
    generator = np.random.default_rng(seed + 1)
    focal = FOCAL_35MM / np.hypot(36, 24) * np.hypot(*SIZE)
    matrix = np.array([[focal, 0, (SIZE[0] - 1) / 2], [0, focal, (SIZE[1] - 1) / 2], [0, 0, 1]])
    made = []
    for k in range(count):
        jitter = generator.uniform(-1, 1, 6)
        centre = np.array([3 + k * STEP + 0.3 * jitter[0], -2.6 + 0.5 * jitter[1], -AWAY + 0.8 * jitter[2]])
        turn, _ = cv2.Rodrigues(np.array([0.04, 0.12, 0.03]) * jitter[3:])
        made.append(View(matrix, np.asarray(turn, float), centre))
    return made


def render(view: View, scene: list[Rectangle]) -> Picture:
    """The photo (height, width) in [0, 1]; later rectangles cover earlier ones."""
    fine = (SIZE[0] * SUPERSAMPLING, SIZE[1] * SUPERSAMPLING)
    image = np.full(fine[::-1], 0.85, np.float32)
    enlarge = np.array(
        [[SUPERSAMPLING, 0, (SUPERSAMPLING - 1) / 2], [0, SUPERSAMPLING, (SUPERSAMPLING - 1) / 2], [0, 0, 1]]
    )
    for part in scene:
        high, wide = part.skin.shape
        plane = np.column_stack([part.across, part.down, np.subtract(part.corner, view.centre)])
        corners = view.rotation @ plane @ np.array([[0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]])
        if (corners[2] < 0.5).any():
            continue  # behind the camera, or beside it
        texels = np.array([[1 / wide, 0, 0.5 / wide], [0, 1 / high, 0.5 / high], [0, 0, 1]])
        warp = enlarge @ view.matrix @ view.rotation @ plane @ texels
        cv2.warpPerspective(part.skin, warp, fine, image, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    return np.asarray(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA), np.float32)


def write_street(folder: Path, count: int, seed: int) -> dict[str, Floats]:
    """Writes FOLDER/images and FOLDER/pairs.txt, each photo with the next ones; returns the true camera centres."""
    houses = int(np.ceil((count * STEP + 12) / WIDE))
    scene, noise = street(houses, seed), np.random.default_rng(seed + 2)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    tags = Image.Exif()
    tags[ExifTags.Base.Make], tags[ExifTags.Base.Model] = "astr", "street"
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = FOCAL_35MM
    truth = {}
    for k, view in enumerate(views(count, seed)):
        photo = render(view, scene) + noise.normal(0, 0.01, SIZE[::-1])
        truth[f"street{k:02}.jpg"] = view.centre
        image = Image.fromarray((photo.clip(0, 1) * 255).astype(np.uint8))
        image.save(folder / "images" / f"street{k:02}.jpg", quality=92, exif=tags)
    names = list(truth)
    pairs = [(a, b) for k, a in enumerate(names) for b in names[k + 1 : k + 1 + FOLLOWING]]
    (folder / "pairs.txt").write_text("".join(f"{a} {b}\n" for a, b in pairs), encoding="utf-8")
    print(f"{folder}: {count} photos of {houses} houses, {len(pairs)} pairs")
    return truth


def reconstruct(folder: Path, repeats: str) -> Path:
    """The model of FOLDER/off or FOLDER/drop; matching is done once."""
    out = folder / repeats
    before = folder / "off"
    if out != before:
        shutil.copytree(before, out, dirs_exist_ok=True)
    command = [sys.executable, "-m", "astr_cli", "reconstruct", str(folder / "images"), "--out", str(out)]
    options = ["--pairs", str(folder / "pairs.txt"), "--long-side", "320", "--refine", "off", "--no-report"]
    subprocess.run([*command, *options, "--repeats", repeats, "--camera-mode", "single"], check=True)
    return out / "sparse" / "0"


def told(repeats: str, model: Path, truth: dict[str, Floats]) -> None:
    """One line of the table."""
    placed = camera_centres(model)
    names = sorted(placed)
    centres, true = np.array([placed[name] for name in names]), np.array([truth[name] for name in names])
    extent = np.linalg.norm(true[:, None] - true, axis=2).max()
    apart = np.linalg.norm(align(centres, true).apply(centres) - true, axis=1) / extent
    beside = int((apart > 0.01).sum())
    print(
        f"--repeats {repeats}: {len(names)} of {len(truth)} photos, {beside} more than 1% off, worst {apart.max():.2%}"
    )


def main() -> None:
    """Renders, maps twice, and compares with the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--photos", type=int, default=20)
    given = parser.parse_args()
    truth = write_street(given.folder, given.photos, given.seed)
    for repeats in ("off", "drop"):
        told(repeats, reconstruct(given.folder, repeats), truth)


if __name__ == "__main__":
    main()
