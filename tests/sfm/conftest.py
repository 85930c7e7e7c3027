"""A simulated matcher: the cell stars `astr match` would store for cameras looking at a known relief.

Cell centres of one image are cast onto the surface and projected into the other; the leaf gets Gaussian noise, some
rows are wrong. Nothing here needs photos or weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from astr_cli.images.geometry import matched_size
from astr_cli.sfm.tracks.match_rows import MatchedImage, MatchRows
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

from .dying import Driver
from .foreign_databases import foreign

CELL = 8


@dataclass(frozen=True)
class Camera:
    """x = K (R X + t), raw pixels, centre of the top-left pixel at (0, 0)."""

    K: np.ndarray  # (3, 3)
    R: np.ndarray  # (3, 3)
    t: np.ndarray  # (3,)
    size: tuple[int, int]

    @property
    def centre(self) -> np.ndarray:
        return -self.R.T @ self.t

    def project(self, points: np.ndarray) -> np.ndarray:
        """(M, 3) world points -> (M, 2) pixels."""
        rays = points @ (self.K @ self.R).T + self.K @ self.t
        return rays[:, :2] / rays[:, 2:]

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """(M, 2) pixels -> (M, 3) world directions of depth 1."""
        homogeneous = np.column_stack([pixels, np.ones(len(pixels))])
        return homogeneous @ np.linalg.inv(self.K).T @ self.R


class Relief:
    """A bumpy wall facing the cameras: height over a plane, a sum of a few waves."""

    def __init__(self, cameras: list[Camera], distance: float, bump: float = 0.08) -> None:
        forward = np.mean([camera.R[2] for camera in cameras], axis=0)
        self.normal = -forward / np.linalg.norm(forward)
        middle = np.mean([camera.centre for camera in cameras], axis=0)
        self.origin = middle - distance * self.normal
        self.axes = np.linalg.svd(self.normal[None])[2][1:]
        self.unit = distance
        self.bump = bump * distance

    def height(self, points: np.ndarray) -> np.ndarray:
        u, v = ((points - self.origin) @ self.axes.T / self.unit).T
        return self.bump * (np.sin(5 * u + 1) * np.cos(4 * v) + 0.4 * np.sin(11 * u) * np.sin(9 * v + 2))

    def interest(self, points: np.ndarray) -> np.ndarray:
        """(M,) in 0..1: how well the surface is textured there, the same from every side."""
        u, v = ((points - self.origin) @ self.axes.T / self.unit).T
        return 0.5 + 0.25 * np.sin(37 * u + 3 * np.sin(23 * v)) + 0.25 * np.cos(41 * v + 2 * np.sin(29 * u))

    def cast(self, camera: Camera, pixels: np.ndarray) -> np.ndarray:
        """(M, 2) pixels -> (M, 3) points of the surface, by fixed-point iteration (the relief is gentle)."""
        rays = camera.rays(pixels)
        height = np.zeros(len(pixels))
        for _ in range(30):
            depth = (height - (camera.centre - self.origin) @ self.normal) / (rays @ self.normal)
            points = camera.centre + depth[:, None] * rays
            height = self.height(points)
        return points


class Simulator:
    """Makes pairs of a scene; every draw comes from the pair's own seed."""

    def __init__(
        self,
        cameras: list[Camera],
        relief: Relief,
        long_side: int = 640,
        noise: float = 0.3,
        outliers: float = 0.08,
        coarse: int = 1000,
        seed: int = 0,
    ) -> None:
        self.cameras, self.relief = cameras, relief
        self.noise, self.outliers, self.coarse, self.seed = noise, outliers, coarse, seed
        self.matched = [matched_size(*camera.size, long_side) for camera in cameras]
        self.scale = [np.array(w) / np.array(c.size) for w, c in zip(self.matched, cameras, strict=True)]

    def raw(self, image: int, points: np.ndarray) -> np.ndarray:
        return (points + 0.5) / self.scale[image] - 0.5

    def shrunk(self, image: int, points: np.ndarray) -> np.ndarray:
        return (points + 0.5) * self.scale[image] - 0.5

    def transfer(self, a: int, b: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Matched pixels of a -> matched pixels of b, and how interesting the surface is there."""
        surface = self.relief.cast(self.cameras[a], self.raw(a, points))
        return self.shrunk(b, self.cameras[b].project(surface)), self.relief.interest(surface)

    def match(self, a: int, b: int, cell: int = CELL) -> PairMatches:
        """cell: matched pixels, 8 for whole photos, 4 for photos enlarged twice, with one centre on the first cell's"""
        rng = np.random.default_rng([self.seed, a, b])
        begin = (CELL - cell) / 2
        columns, rows = self.matched[a][0] // cell, self.matched[a][1] // cell
        grid = np.array(list(itertools.product(range(2, columns - 2), range(2, rows - 2))))
        centre0 = grid * cell + (CELL - 1) / 2
        seen, interest = self.transfer(a, b, centre0)
        cell1 = np.floor((seen + 0.5 - begin) / cell)
        limit = np.array(self.matched[b]) // cell - 2
        inside = ((cell1 >= 2) & (cell1 < limit)).all(1)
        centre1 = cell1 * cell + (CELL - 1) / 2
        back, _ = self.transfer(b, a, centre1)
        mutual = inside & (np.floor((back + 0.5 - begin) / cell) == grid).all(1)
        wish = interest + rng.normal(0, 0.1, len(grid))
        index = np.flatnonzero(mutual)
        index = index[np.argsort(-wish[index], kind="stable")][: self.coarse]
        return self._rows(
            a, b, rng, np.stack([centre0[index], back[index]]), np.stack([seen[index], centre1[index]]), wish[index]
        )

    def _rows(
        self, a: int, b: int, rng: np.random.Generator, points0: np.ndarray, points1: np.ndarray, wish: np.ndarray
    ) -> PairMatches:
        """points: (2, M, 2) matched pixels, first with image a on its grid, then with image b."""
        count = points0.shape[1]
        points1[0] += rng.normal(0, self.noise, (count, 2))
        points0[1] += rng.normal(0, self.noise, (count, 2))
        wrong = rng.random(count) < self.outliers
        points1[:, wrong] = points1[:, rng.permutation(np.flatnonzero(wrong))] if wrong.any() else points1[:, wrong]
        scores = np.clip(0.2 + 0.6 * wish - 0.2 * wrong, 0.2, 1.0)
        order = np.argsort(-scores, kind="stable")
        return PairMatches(
            self.raw(a, points0[:, order].reshape(-1, 2)).astype(np.float32),
            self.raw(b, points1[:, order].reshape(-1, 2)).astype(np.float32),
            np.tile(scores[order], 2).astype(np.float32),
            np.repeat([0, 1], count).astype(np.uint8),
        )


def look_at(centre: np.ndarray, target: np.ndarray, focal: float, size: tuple[int, int]) -> Camera:
    z = (target - centre) / np.linalg.norm(target - centre)
    x = np.cross(z, [0.0, 1.0, 0.0])
    R = np.stack([x / np.linalg.norm(x), np.cross(z, x / np.linalg.norm(x)), z])
    K = np.array([[focal, 0, size[0] / 2 - 0.5], [0, focal, size[1] / 2 - 0.5], [0, 0, 1]])
    return Camera(K, R, -R @ centre, size)


@dataclass(frozen=True)
class Scene:
    """Cameras by name, what the matcher finds between them, and a folder with empty photos of the right size."""

    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    pairs: tuple[tuple[int, int], ...]
    matches: tuple[PairMatches, ...]
    long_side: int

    @property
    def centres(self) -> dict[str, np.ndarray]:
        return {name: camera.centre for name, camera in zip(self.names, self.cameras, strict=True)}

    def rows(self) -> MatchRows:
        frames = tuple(
            MatchedImage(name, camera.size, matched_size(*camera.size, self.long_side))
            for name, camera in zip(self.names, self.cameras, strict=True)
        )
        pair = np.repeat(np.arange(len(self.pairs)), [len(m) for m in self.matches]).astype(np.int32)
        fields = ("keypoints0", "keypoints1", "scores", "reference")
        columns = (np.concatenate([getattr(m, field) for m in self.matches]) for field in fields)
        return MatchRows(frames, np.array(self.pairs, np.int32), pair, *columns)

    def write(self, path: Path, images: str = "photos", *options: tuple[str, str]) -> Path:
        """matches.h5 as astr match would write it with these further options."""
        entries = [
            MatchEntry(self.names[a], self.names[b], self.cameras[a].size, self.cameras[b].size, matches)
            for (a, b), matches in zip(self.pairs, self.matches, strict=True)
        ]
        write_matches(path, [("images", images), ("long_side", str(self.long_side)), *options], entries)
        return path

    def write_photos(self, folder: Path) -> Path:
        for name, camera in zip(self.names, self.cameras, strict=True):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", camera.size, 128).save(folder / name)
        return folder


def make_scene(
    names: Sequence[str],
    cameras: Sequence[Camera],
    pairs: Sequence[tuple[int, int]],
    long_side: int,
    distance: float,
    **settings: float,
) -> Scene:
    simulator = Simulator(list(cameras), Relief(list(cameras), distance), long_side, **settings)
    matches = tuple(simulator.match(a, b) for a, b in pairs)
    return Scene(tuple(names), tuple(cameras), tuple(pairs), matches, long_side)


def arc(count: int, size: tuple[int, int], focal: float) -> list[Camera]:
    """Cameras on an arc of radius 9 about the origin, not quite level."""
    angles = np.linspace(-0.6, 0.6, count)
    heights = 0.8 * np.cos(7 * angles)
    return [
        look_at(np.array([9 * np.sin(angle), height, -9 * np.cos(angle)]), np.zeros(3), focal, size)
        for angle, height in zip(angles, heights, strict=True)
    ]


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Six photos of 512x384, all pairs matched at 320 px; names with a folder, a space and an accent."""
    names = ("a.png", "b c.png", "sub/d.png", "sub/é.png", "y.png", "z.png")
    return make_scene(
        names, arc(6, (512, 384), 480), list(itertools.combinations(range(6), 2)), 320, 9.0, coarse=300, outliers=0.05
    )


@pytest.fixture
def workplace(scene: Scene, tmp_path: Path) -> Path:
    """A folder with matches.h5 and photos/."""
    scene.write_photos(tmp_path / "photos")
    scene.write(tmp_path / "matches.h5")
    return tmp_path


@pytest.fixture(scope="session")
def simulate() -> Callable[[dict[str, Any], Sequence[tuple[str, str]], float], Scene]:
    """simulate(images of a gt.json, pairs, distance of the surface): what astr would match at 640 px."""

    def make(truth: dict[str, Any], pairs: Sequence[tuple[str, str]], distance: float) -> Scene:
        names = sorted(truth)
        cameras = [
            Camera(*(np.array(truth[name][key], np.float64) for key in ("K", "R", "t")), tuple(truth[name]["size"]))
            for name in names
        ]
        numbers = [(names.index(a), names.index(b)) for a, b in pairs]
        return make_scene(names, cameras, numbers, 640, distance, coarse=600, noise=0.4)

    return make


@pytest.fixture
def sift(workplace: Path, scene: Any) -> Path:
    """The matches lack the last pair, which the other detector has."""
    fewer = type(scene)(scene.names, scene.cameras, scene.pairs[:-1], scene.matches[:-1], scene.long_side)
    fewer.write(workplace / "matches.h5")
    return foreign(workplace, scene)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    (tmp_path / "said").mkdir()
    with Driver(tmp_path / "said") as made:
        yield made


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with matches.h5 and photos/: as few photos and matches as make a model."""
    scene = make_scene(
        ("a.png", "b c.png", "sub/d.png", "sub/é.png"),
        arc(4, (512, 384), 480),
        list(itertools.combinations(range(4), 2)),
        *(320, 9.0),
        coarse=100,
        outliers=0.05,
    )
    scene.write_photos(tmp_path / "photos")
    scene.write(tmp_path / "matches.h5")
    return tmp_path
