"""A folder with images/ and sparse/0: cameras before a tilted plane, in COLMAP's text format."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT, FOCAL = 400, 300, 380.0
POINTS = 4000
SLOPE = np.array([0.3, -0.2])  # the plane z = SLOPE . (x, y)


class Plane(NamedTuple):
    """Cameras in front of a tilted plane: x = K (X - position), turned by nothing."""

    positions: np.ndarray  # (V, 3)
    points: np.ndarray  # (P, 3)

    def project(self, view: int) -> np.ndarray:
        """(P, 2) pixels, the centre of the top-left one at (0, 0)."""
        moved = self.points - self.positions[view]
        return FOCAL * moved[:, :2] / moved[:, 2:] + [WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5]


def plane() -> Plane:
    random = np.random.default_rng(4)
    flat = random.uniform(-1.6, 1.6, (POINTS, 2))
    positions = np.array([[x, 0.1 * x, -2.5] for x in (-0.4, 0.0, 0.4)])
    return Plane(positions, np.column_stack([flat, flat @ SLOPE]))


def write_model(folder: Path, scene: Plane, model: str = "PINHOLE") -> None:
    """images/ and sparse/0 in COLMAP's text format."""
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    (folder / "images").mkdir()
    numbers = (
        f"{FOCAL} {FOCAL} {WIDTH / 2} {HEIGHT / 2}" if model == "PINHOLE" else f"{FOCAL} {WIDTH / 2} {HEIGHT / 2} 0.1"
    )
    (sparse / "cameras.txt").write_text(f"1 {model} {WIDTH} {HEIGHT} {numbers}\n")
    projected = [scene.project(view) for view in range(len(scene.positions))]
    inside = [((places > -0.5) & (places < [WIDTH - 0.5, HEIGHT - 0.5])).all(axis=1) for places in projected]
    tracked = np.flatnonzero(np.sum(inside, axis=0) > 1)
    tracks: dict[int, list[str]] = {point: [] for point in tracked.tolist()}
    lines = []
    for view, position in enumerate(scene.positions):
        seen = [point for point in tracks if inside[view][point]]
        for row, point in enumerate(seen):
            tracks[point].append(f"{view + 1} {row}")
        shift = " ".join(map(repr, (-position).tolist()))
        places = (projected[view][seen] + 0.5).tolist()
        lines.append(f"{view + 1} 1 0 0 0 {shift} 1 {view}.png")
        lines.append(" ".join(f"{x!r} {y!r} {point + 1}" for point, (x, y) in zip(seen, places, strict=True)))
        grey = np.random.default_rng(view).integers(0, 255, (HEIGHT, WIDTH), np.uint8)
        Image.fromarray(grey).save(folder / "images" / f"{view}.png")
    (sparse / "images.txt").write_text("\n".join(lines) + "\n")
    rows = [
        f"{point + 1} {' '.join(map(repr, scene.points[point].tolist()))} 9 9 9 0.1 {' '.join(track)}"
        for point, track in tracks.items()
    ]
    (sparse / "points3D.txt").write_text("\n".join(rows) + "\n")
