"""Pairs of photos to match, by COLMAP's own pair generators where they fit: ranked lists of two names.

COLMAP's generators read a database; they get a temporary one. They see the names in the given order, so
neighbours in a sequence are neighbours in that order, for any names.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astr_cli.errors import AstrError
from astr_cli.images.catalogue import catalogue
from astr_cli.images.gps import Place
from astr_cli.sfm.colmap import open_database, pycolmap, quiet
from astr_cli.wording import first_line

MOST_PAIRS = 1_000_000  # a week and more of matching; more is certainly a mistake
SAME_PLACE = 1.0  # metres: a telephone without a fix writes its last position, time and again
BLOCK = 256  # photos compared with all others at once
FEWEST_SHARED = 15  # points; COLMAP maps with pairs of at least so many inliers


class NoPlacesError(AstrError):
    """Photos without GPS positions."""


class Proposal(NamedTuple):
    """Pairs of names, best first, and warnings."""

    pairs: list[tuple[str, str]]
    warnings: tuple[str, ...] = ()


def natural_order(names: Iterable[str]) -> list[str]:
    """Sorted with numbers by value, as cameras count: img2 before img10."""

    def key(name: str) -> tuple[list[str | int], str]:
        parts = re.split(r"([0-9]+)", name.casefold())  # text, digits, text, ...
        return [int(part) if number % 2 else part for number, part in enumerate(parts)], name

    return sorted(names, key=key)


def exhaustive(names: Sequence[str]) -> Proposal:
    """Every two photos; those nearer to each other in the list rank higher.

    Raises AstrError above MOST_PAIRS.
    """
    count = len(names) * (len(names) - 1) // 2
    if count > MOST_PAIRS:
        raise AstrError(
            f"{len(names)} photos make {count} pairs, more than {MOST_PAIRS}; use astr pairs retrieval, spatial or "
            "sequential, which choose the pairs that can overlap"
        )
    with _named_database(names) as database:
        found = _generate(lambda: pycolmap.ExhaustivePairGenerator(pycolmap.ExhaustivePairingOptions(), database))
    return _ranked(names, found, found[:, 1] - found[:, 0])


def sequential(names: Sequence[str], overlap: int, quadratic: bool) -> Proposal:
    """Every photo with the `overlap` following ones of its folder, in the order given; nearer ones rank higher.

    Folders are sequences of their own: the end of one video has nothing to do with the start of another.
    quadratic: instead with the photos 1, 2, 4, 8, ... later, also `overlap` of them. Raises AstrError above MOST_PAIRS.
    """
    _refuse_many(len(names) * min(overlap, len(names)), "use a smaller --overlap")
    options = pycolmap.SequentialPairingOptions()
    options.overlap = overlap
    options.quadratic_overlap = quadratic
    folders: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        folders.setdefault(name.rpartition("/")[0], []).append(number)
    found, distances = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for members in folders.values():
        if len(members) > 1:
            with _named_database([names[number] for number in members]) as database:
                steps = _generate(lambda: pycolmap.SequentialPairGenerator(options, database))
            found.append(np.array(members)[steps])
            distances.append(steps[:, 1] - steps[:, 0])
    return _ranked(names, np.concatenate(found), np.concatenate(distances))


def spatial(root: Path, names: Sequence[str], neighbours: int, distance: float, ignore_height: bool) -> Proposal:
    """Every photo with its nearest `neighbours` by EXIF GPS, up to `distance` metres away; nearer ones rank higher.

    Heights do not count where a photo has none. It warns of photos without a position, and of positions that say
    nothing.

    Raises NoPlacesError: fewer than two photos have a GPS position; AstrError: more than MOST_PAIRS pairs.
    """
    _refuse_many(len(names) * min(neighbours, len(names)), "take fewer --neighbours")
    infos = catalogue(root, names).infos
    known = {number: place for number, name in enumerate(names) if name in infos and (place := infos[name].place)}
    if len(known) < 2:
        raise NoPlacesError(
            f"{root}: {len(known)} of {len(names)} photos have a GPS position in their EXIF; use astr pairs retrieval "
            "or sequential"
        )
    numbers, points = np.array(list(known)), metres_of(list(known.values()), ignore_height)
    # Not COLMAP's generator: its index is approximate, and in 4.0 and 4.1 it failed on a handful of photos.
    between, nearest = cKDTree(points).query(points, min(neighbours + 1, len(points)), distance_upper_bound=distance)
    rows = np.repeat(np.arange(len(points)), nearest.shape[1])
    between, nearest = between.ravel(), nearest.ravel()
    others = (nearest < len(points)) & (nearest != rows)
    found, between = numbers[np.column_stack([rows[others], nearest[others]])], between[others]
    warnings = (_without_place(names, known), _crowded(names, numbers, points, neighbours))
    return Proposal(_ranked(names, found, between).pairs, tuple(line for line in warnings if line))


def metres_of(places: Sequence[Place], flat: bool) -> NDArray[np.float64]:
    """(M, 3) metres east, north and up of the first place; up is 0 if `flat`, or if a place lacks its altitude."""
    heights = [place.altitude for place in places if place.altitude is not None]
    level = heights[0] if heights else 0.0
    earth = np.array([(p.latitude, p.longitude, level if p.altitude is None else p.altitude) for p in places])
    metres = np.asarray(pycolmap.GPSTransform().ellipsoid_to_enu(earth, *earth[0]), np.float64)
    return metres * (1, 1, not flat and len(heights) == len(places))


def _without_place(names: Sequence[str], known: Mapping[int, Place]) -> str | None:
    missing = [name for number, name in enumerate(names) if number not in known]
    if not missing:
        return None
    return f"{len(missing)} of {len(names)} photos have no GPS position (for example {missing[0]}) and are in no pair"


def _crowded(
    names: Sequence[str], numbers: NDArray[np.int64], points: NDArray[np.float64], neighbours: int
) -> str | None:
    """A warning of photos that have more than their neighbours in their own place: which of them it gets is chance."""
    near = cKDTree(points).query_ball_point(points, SAME_PLACE, return_length=True)
    crowded = np.flatnonzero(near - 1 > neighbours)
    if not len(crowded):
        return None
    first = names[numbers[crowded[0]]]
    return (
        f"{len(crowded)} of {len(names)} photos (for example {first}) have the same GPS position as more than "
        f"{neighbours} others, so these positions do not tell which photos overlap; use astr pairs retrieval or "
        "sequential"
    )


def covisible(model: Path, neighbours: int, fewest: int = FEWEST_SHARED) -> tuple[list[str], Proposal]:
    """The images of a COLMAP model, and each paired with the `neighbours` that share most of its points (>= `fewest`).

    Raises AstrError: not a model, or no two images share that many points.
    """
    try:
        with quiet(errors=False):
            loaded = pycolmap.Reconstruction(model)
    except (ValueError, RuntimeError, OSError) as error:
        raise AstrError(
            f"{model}: not a readable COLMAP model ({first_line(error)}); use a model's folder, such as sparse/0"
        ) from None
    ids = {number: loaded.image(number).name for number in loaded.reg_image_ids()}
    names = sorted(ids.values())
    _refuse_many(len(names) * min(neighbours, len(names)), "take fewer --neighbours")
    shared = _shared_points(loaded, {number: names.index(name) for number, name in ids.items()})
    rows = np.repeat(np.arange(len(names)), min(neighbours, len(names)))
    best = np.argsort(-shared, axis=1, kind="stable")[:, :neighbours].ravel()
    enough = shared[rows, best] >= fewest
    found = np.column_stack([rows[enough], best[enough]])
    if not len(found):
        raise AstrError(f"{model}: no two of its {len(names)} images share {fewest} points; use a smaller --min-points")
    return names, _ranked(names, found, -shared[found[:, 0], found[:, 1]])


def ranked_by_similarity(names: Sequence[str], descriptors: NDArray[np.float32], neighbours: int) -> Proposal:
    """Every photo with the `neighbours` most similar to it; more similar rank higher. descriptors: (N, D), of which
    products are similarities. Only a block of the (N, N) products exists at a time.
    """
    take = min(neighbours, len(names) - 1)
    rows = np.repeat(np.arange(len(names)), take)
    best, similarity = [], []
    for start in range(0, len(names), BLOCK):
        others = descriptors[start : start + BLOCK] @ descriptors.T
        others[np.arange(len(others)), start + np.arange(len(others))] = -np.inf
        order = np.argsort(-others, axis=1, kind="stable")[:, :take]
        best.append(order.copy())  # a view would keep the whole order
        similarity.append(np.take_along_axis(others, order, axis=1))
    return _ranked(names, np.column_stack([rows, np.concatenate(best).ravel()]), -np.concatenate(similarity).ravel())


def _shared_points(model: pycolmap.Reconstruction, images: dict[int, int]) -> NDArray[np.int64]:
    """(N, N) how many points two images share; 0 on the diagonal."""
    shared = np.zeros((len(images), len(images)), np.int64)
    for point in model.points3D.values():
        seen = np.unique([images[element.image_id] for element in point.track.elements])
        shared[seen[:, None], seen] += 1
    np.fill_diagonal(shared, 0)
    return shared


def _refuse_many(count: int, advice: str) -> None:
    if count > MOST_PAIRS:
        raise AstrError(f"up to {count} pairs are more than the limit of {MOST_PAIRS}; {advice}")


@contextmanager
def _scratch() -> Iterator[Path]:
    """An empty database that exists while the block runs."""
    with tempfile.TemporaryDirectory(prefix="astr-pairs-") as folder:
        path = Path(folder) / "scratch.db"
        with open_database(path):
            pass
        yield path


@contextmanager
def _named_database(names: Sequence[str]) -> Iterator[pycolmap.Database]:
    """A database with one image for each name, numbered from 1 and named by number: COLMAP sorts by name."""
    with _scratch() as path, open_database(path) as database:
        with pycolmap.DatabaseTransaction(database):
            camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=2, height=2, params=[1.0, 1.0, 1.0])
            number = database.write_camera(camera)
            for index in range(len(names)):
                database.write_image(pycolmap.Image(name=f"{index:09d}", camera_id=number))
        yield database


def _generate(make: Callable[[], pycolmap.PairGenerator]) -> NDArray[np.int64]:
    """(P, 2) indices of the pairs, one less than COLMAP's ids; each once, the lower first."""
    with quiet():
        pairs = make().all_pairs()
    return np.unique(np.sort(np.array(pairs, np.int64).reshape(-1, 2) - 1, axis=1), axis=0)


def _ranked(names: Sequence[str], pairs: NDArray[np.int64], cost: NDArray[np.generic]) -> Proposal:
    """Names of the pairs (P, 2), lowest cost first, then in the order of the names; each pair once."""
    low, high = pairs.min(1, initial=len(names)), pairs.max(1, initial=0)
    order = np.lexsort((high, low, cost))
    seen = dict.fromkeys(zip(low[order].tolist(), high[order].tolist(), strict=True))
    return Proposal([(names[a], names[b]) for a, b in seen])
