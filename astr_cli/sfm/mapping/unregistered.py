"""Why a photo, or all of them, did not become part of a model: what the pairs of the database say."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.database.pair_ids import pair_images
from astr_cli.sfm.database.verification import MIN_INLIERS

TURNED = (5, 6)  # COLMAP's kinds of a geometry: panoramic; planar or panoramic
BEST = 3  # pairs told per model
MOSTLY = 0.8  # of the verified pairs
ADVICE = "take photos from other places"


class Unregistered(NamedTuple):
    """A photo without a pose."""

    name: str
    partner: str | None
    """The photo that it fits best; None: no photo matches it."""
    matches: int
    """With the partner."""
    inliers: int
    """Verified ones of these."""
    reason: str


class Join(NamedTuple):
    """What might join a further model to the largest one."""

    model: int
    """Its number."""
    photos: int
    """Its photos."""
    pairs: tuple[tuple[str, str, int], ...]
    """Photo of the largest model, photo of this one, verified matches: the pairs with the most. Without any verified
    pair, those with the most matches and 0; empty: no pair between the two has matches.
    """


class _Pair(NamedTuple):
    names: frozenset[str]
    matches: int
    inliers: int
    """0: not verified."""
    turned: bool
    """Whether the camera did not change its place between the two, as far as the matches say."""


def unregistered(database: Path, missing: Sequence[str]) -> tuple[Unregistered, ...]:
    """The reasons for the images `missing` from a model of a database that is not open elsewhere."""
    pairs = _read(database) if missing else []
    return tuple(_explain(name, set(missing), pairs) for name in missing)


def joins(database: Path, models: Sequence[frozenset[str]]) -> tuple[Join, ...]:
    """For each model but the first, given as names of photos: its best pairs with the first one."""
    pairs = _read(database) if len(models) > 1 else []
    return tuple(_join(number, models[0], model, pairs) for number, model in enumerate(models) if number)


def _join(number: int, largest: frozenset[str], model: frozenset[str], pairs: Sequence[_Pair]) -> Join:
    only = model - largest  # models may share photos
    between = [pair for pair in pairs if len(pair.names & only) == 1 and len(pair.names & largest) == 1]
    between.sort(key=lambda pair: (-pair.inliers, -pair.matches, sorted(pair.names)))
    best = [(min(pair.names & largest), min(pair.names & only), pair.inliers) for pair in between[:BEST]]
    return Join(number, len(model), tuple(best))


def no_model_reason(database: Path) -> str:
    """Why there is no model at all, and what to do."""
    verified = [pair for pair in _read(database) if pair.inliers]
    turned = sum(pair.turned for pair in verified)
    if verified and turned >= MOSTLY * len(verified):
        return (
            f"the camera only turned or did not move ({turned} of {len(verified)} verified pairs; a single flat "
            f"surface looks the same): {ADVICE}"
        )
    return (
        "the photos overlap too little or too few pairs match; add photos in between, or match with a larger "
        "--long-side"
    )


def _explain(name: str, missing: set[str], pairs: Sequence[_Pair]) -> Unregistered:
    own = [pair for pair in pairs if name in pair.names]
    if not own:
        return Unregistered(name, None, 0, 0, "no photo matches it")
    best = max(own, key=lambda pair: (pair.inliers, pair.matches, sorted(pair.names)))
    partner = next(iter(best.names - {name}))
    return Unregistered(name, partner, best.matches, best.inliers, _reason(best, partner, partner in missing))


def _reason(best: _Pair, partner: str, alone: bool) -> str:
    if not best.inliers:
        return f"none of its pairs passed verification; the best one has {best.matches} matches with {partner}"
    fit = f"{best.inliers} of {best.matches} matches with {partner} are verified, but "
    if best.turned:
        return f"{fit}the camera only turned or did not move between the two: {ADVICE}"
    if alone:
        return f"{fit}{partner} is not registered either; match both with more photos"
    return f"{fit}too few of them are points of the model, or they contradict it; match it with more photos"


def _read(database: Path) -> list[_Pair]:
    """All pairs with matches."""
    query = (
        "SELECT pair_id, matches.rows, COALESCE(config, 1), COALESCE(two_view_geometries.rows, 0) "
        "FROM matches LEFT JOIN two_view_geometries USING (pair_id) WHERE matches.rows > 0 ORDER BY pair_id"
    )
    with closing(read_only(database)) as connection:
        names: dict[int, str] = dict(connection.execute("SELECT image_id, name FROM images"))
        return [
            _Pair(_named(names, pair), matches, inliers if _mappable(config, inliers) else 0, config in TURNED)
            for pair, matches, config, inliers in connection.execute(query)
        ]


def _named(names: dict[int, str], pair: int) -> frozenset[str]:
    return frozenset(names[image] for image in pair_images(pair))


def _mappable(config: int, inliers: int) -> bool:
    return config > 1 and inliers >= MIN_INLIERS
