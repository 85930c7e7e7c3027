"""How well each image pair agrees with itself and with the model, to find where repeated structure misled the matcher.

Two facades that look alike give matches with a valid two-view geometry, so they pass verification. The model
cannot fit both them and the true pairs: the inliers of one or the other lie off the epipolar lines of its poses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.database.pair_ids import pair_images
from astr_cli.sfm.database.verification import MIN_INLIERS

AGREEING = 8.0  # pixels off the epipolar line: twice what verification allows, as the model's cameras are adjusted
DOUBTFUL = 0.5  # a pair with fewer of its inliers on the model's lines contradicts it
FOLDED = 0.1  # share of the trusted pairs; rendered streets: 0 if the model is right, 0.2 if it is folded

Floats = NDArray[np.float64]


class PairFigures(NamedTuple):
    """One pair of images."""

    name0: str
    name1: str
    matches: int
    inliers: int
    """Inliers of its verification; 0: it did not pass."""
    agreeing: float | None
    """Share of the inliers that lie on the model's epipolar lines; None: not verified, or a photo has no pose."""

    @property
    def ratio(self) -> float:
        """Inliers of the matches."""
        return self.inliers / max(1, self.matches)

    @property
    def doubtful(self) -> bool:
        """Whether the pair passed verification, but contradicts the model."""
        return self.agreeing is not None and self.agreeing < DOUBTFUL


def pair_figures(database: Path, model: Path) -> tuple[PairFigures, ...]:
    """Every pair with matches, by names, in a database that is not open elsewhere."""
    loaded = read_model(model)
    with closing(read_only(database)) as connection:
        names = dict(connection.execute("SELECT image_id, name FROM images"))
        found = [
            PairFigures(*_ordered(names, pair), matches, inliers, agreeing)
            for pair, matches, inliers, agreeing in _pairs(connection, loaded)
        ]
    return tuple(sorted(found))


def doubtful_pairs(figures: Iterable[PairFigures]) -> tuple[PairFigures, ...]:
    """Pairs that contradict the model, most inliers first."""
    return tuple(sorted((pair for pair in figures if pair.doubtful), key=lambda pair: -pair.inliers))


def is_folded(figures: Sequence[PairFigures], misled: Collection[tuple[str, str]]) -> bool:
    """Whether the model follows the pairs (names in order) that repeated structure misled, in place of the others.

    It does where many of the others contradict it, or where those that agree with it do not connect its photos. Whether
    it agrees with the misled pairs tells nothing: some of their matches are right, often more than half.
    """
    if not misled:
        return False
    judged = [pair for pair in figures if pair.agreeing is not None]
    others = [pair for pair in judged if (pair.name0, pair.name1) not in misled]
    group = {name: name for pair in judged for name in (pair.name0, pair.name1)}
    for pair in others:
        if not pair.doubtful:
            first, second = group[pair.name0], group[pair.name1]
            group = {name: first if of == second else of for name, of in group.items()}
    return sum(pair.doubtful for pair in others) > FOLDED * len(others) or len(set(group.values())) > 1


def _ordered(names: dict[int, str], pair: int) -> tuple[str, str]:
    first, second = sorted(names[image] for image in pair_images(pair))
    return first, second


def _pairs(connection: sqlite3.Connection, model: Any) -> Iterator[tuple[int, int, int, float | None]]:
    rays = _Rays(connection, model)
    query = (
        "SELECT pair_id, matches.rows, COALESCE(config, 1), COALESCE(two_view_geometries.rows, 0), "
        "two_view_geometries.data FROM matches LEFT JOIN two_view_geometries USING (pair_id) WHERE matches.rows > 0"
    )
    for pair, matches, config, inliers, data in connection.execute(query):
        if config <= 1 or inliers < MIN_INLIERS:
            yield pair, matches, 0, None
        else:
            yield pair, matches, inliers, rays.agreeing(*pair_images(pair), np.frombuffer(data, "<u4").reshape(-1, 2))


class _Rays:
    """Keypoints of registered images as rays of their cameras, each image's once."""

    def __init__(self, connection: sqlite3.Connection, model: Any) -> None:
        self._connection, self._model = connection, model
        self._posed = set(model.reg_image_ids())
        self._of_image: dict[int, Floats] = {}

    def agreeing(self, image0: int, image1: int, matches: NDArray[np.uint32]) -> float | None:
        """Share of matches on the epipolar lines of the poses; None without a pose."""
        if not {image0, image1} <= self._posed:
            return None
        first, second = self._model.image(image0), self._model.image(image1)
        moved = second.cam_from_world() * first.cam_from_world().inverse()
        focal = 0.5 * (first.camera.mean_focal_length() + second.camera.mean_focal_length())
        errors = sampson_errors(
            self._rays(image0)[matches[:, 0]], self._rays(image1)[matches[:, 1]], np.asarray(moved.matrix())
        )
        return float((errors * focal < AGREEING).mean())

    def _rays(self, image: int) -> Floats:
        """(K, 2) on the plane at depth 1; NaN where the camera model has no ray."""
        if image not in self._of_image:
            row = self._connection.execute("SELECT rows, data FROM keypoints WHERE image_id = ?", (image,)).fetchone()
            points = np.frombuffer(row[1], "<f4").reshape(row[0], -1)[:, :2].astype(np.float64)
            self._of_image[image] = np.asarray(self._model.image(image).camera.cam_from_img(points), np.float64)
        return self._of_image[image]


def sampson_errors(rays0: Floats, rays1: Floats, moved: Floats) -> Floats:
    """(M,) Sampson distances of (M, 2) rays at depth 1, in units of that plane; moved: (3, 4), camera 0 to camera 1."""
    x, y, z = moved[:, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ moved[:, :3]
    ends = [np.column_stack([rays, np.ones(len(rays))]) for rays in (rays0, rays1)]
    line1, line0 = ends[0] @ essential.T, ends[1] @ essential
    gradient = (line0[:, :2] ** 2).sum(1) + (line1[:, :2] ** 2).sum(1)
    distance: Floats = np.abs((ends[1] * line1).sum(1)) / np.sqrt(np.maximum(gradient, 1e-30))
    return distance
