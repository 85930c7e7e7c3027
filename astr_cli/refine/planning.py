"""Before any pixel is read: which observation of a track is the reference, and how the others should look beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.refine.affine import deformation, neighbour_maps, sane
from astr_cli.refine.observations import (
    Common,
    Floats,
    Groups,
    Index,
    Observations,
    common_tracks,
    grouped,
    track_count,
)

CLOSER = 0.5  # of the logarithm of two images' ratio of area: how much the larger one is preferred as a reference
UNKNOWN = 2.0  # the deformation of a map that neighbours do not tell: at the upper end of those that they do


class Plan(NamedTuple):
    """What to align to what, and from where."""

    reference: Index  # (T,) the observation that the others of a track are aligned to; -1: the track has none
    start: Floats  # (O, 2) where each observation is, about
    maps: Floats  # (O, 2, 2) from pixels of the reference's photo to pixels of the observation's
    pixel: Floats  # (O,) photo pixels per matched pixel of the coarser end: what a start may be off


def plan_from_neighbours(seen: Observations, half: int, reference: Index | None = None) -> Plan:
    """Maps from the nearest tracks that both photos see, starts at the observations themselves.

    reference (T,): chosen here if not given, so that the maps to the other observations of the track deform least.
    half: of a patch; an observation whose patch would leave its photo is not chosen.
    """
    tracks = track_count(seen)
    of_photo, of_track = grouped(seen.photo, len(seen.sizes)), grouped(seen.track, tracks)
    if reference is None:
        reference = choose_references(seen, _deformations(seen, of_photo, of_track), of_track, half)
    maps = np.tile(np.eye(2), (len(seen.photo), 1, 1))
    is_reference = np.zeros(len(seen.photo), bool)
    is_reference[reference[reference >= 0]] = True
    for common in _pairs(seen, of_photo, of_track):
        at = np.flatnonzero(is_reference[common.mine])
        maps[common.theirs[at]], _ = _maps(seen, common, at)
    return _plan(seen, reference, seen.xy, maps)


def plan_from_surfaces(
    seen: Observations, jacobians: Floats, projected: Floats, half: int, reference: Index | None = None
) -> Plan:
    """Maps and starts from a model: see `surfaces.tangent_views` for `jacobians` (O, 2, 2) and `projected` (O, 2).

    The reference stays where it was observed, so the others start as far off their point's projection as it is. Where
    the model's map is no view of a surface, it is the identity and the start the observation itself.
    """
    of_track = grouped(seen.track, track_count(seen))
    if reference is None:
        total = np.zeros(len(seen.photo))
        for mine, theirs in _pairs_within(of_track):
            maps = jacobians[theirs] @ _inverse(jacobians[mine])
            held = sane(maps)
            forth, back = _costs(np.where(held[:, None, None], maps, np.eye(2)), held)
            np.add.at(total, mine, forth)
            np.add.at(total, theirs, back)
        reference = choose_references(seen, total, of_track, half)
    base = reference[seen.track]
    maps = jacobians @ _inverse(jacobians[base])
    maps[base == np.arange(len(base))] = np.eye(2)
    start = projected + (maps @ (seen.xy - projected)[base][..., None])[..., 0]
    held = sane(maps) & np.isfinite(start).all(axis=1)
    start, maps = np.where(held[:, None], start, seen.xy), np.where(held[:, None, None], maps, np.eye(2))
    return _plan(seen, reference, start, maps)


def _plan(seen: Observations, reference: Index, start: Floats, maps: Floats) -> Plan:
    coarser = np.maximum(seen.pixel, seen.pixel[reference[seen.track]] * np.sqrt(np.linalg.det(maps)))
    return Plan(reference, start, maps, coarser)


def choose_references(seen: Observations, deformations: Floats, of_track: Groups, half: int) -> Index:
    """(T,) the observation of each track that has the least deformation (O,) of those whose patch stays inside."""
    room = np.minimum(seen.xy, seen.sizes[seen.photo] - 1 - seen.xy).min(axis=1)
    order = np.lexsort((deformations, room < half + 1.5, seen.track))  # stable
    counts = np.diff(of_track.begin)
    reference = np.full(len(counts), -1, np.int64)
    reference[counts > 0] = order[of_track.begin[:-1][counts > 0]]
    return reference


def _deformations(seen: Observations, of_photo: Groups, of_track: Groups) -> Floats:
    """(O,) summed over the maps to the other observations of the track."""
    total = np.zeros(len(seen.photo))
    for common in _pairs(seen, of_photo, of_track):
        if seen.photo[common.mine[0]] < common.other:
            maps, held = _maps(seen, common, np.arange(len(common.mine)))
            forth, back = _costs(maps, held)
            total[common.mine] += forth
            total[common.theirs] += back
    return total


def _costs(maps: Floats, held: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """What maps (K, 2, 2) cost one end, and the other, as a reference: their deformation, and being the smaller image.

    From a larger image positions in a smaller one are as exact as its pixels; the other way round they are not.
    """
    bent, larger = np.where(held, deformation(maps), UNKNOWN), np.where(held, np.log(np.linalg.det(maps)), 0.0)
    return bent + CLOSER * larger, bent - CLOSER * larger


def _pairs(seen: Observations, of_photo: Groups, of_track: Groups) -> Iterator[Common]:
    for photo in range(len(seen.sizes)):
        yield from common_tracks(seen, of_track, of_photo.rows(photo))


def _maps(seen: Observations, common: Common, at: Index) -> tuple[Floats, NDArray[np.bool_]]:
    """Maps (K, 2, 2) at some of the common tracks, and which neighbours told; else the ratio of matched pixels."""
    pixel = seen.pixel[common.theirs]
    maps, held = neighbour_maps(seen.xy[common.mine], seen.xy[common.theirs], at, pixel)
    ratio = (pixel / seen.pixel[common.mine])[at]
    maps[~held] *= ratio[~held, None, None]
    return maps, held


def _pairs_within(of_track: Groups) -> Iterator[tuple[Index, Index]]:
    """Every two observations of a track, once; together in one array for each distance of their ranks."""
    counts = np.diff(of_track.begin)
    rank = np.arange(len(of_track.order)) - np.repeat(of_track.begin[:-1], counts)
    length = np.repeat(counts, counts)
    for apart in range(1, int(counts.max(initial=0))):
        first = np.flatnonzero(rank + apart < length)
        yield of_track.order[first], of_track.order[first + apart]


def _inverse(maps: Floats) -> Floats:
    """Inverses of (K, 2, 2); large numbers where there are none."""
    a, b, c, d = maps[:, 0, 0], maps[:, 0, 1], maps[:, 1, 0], maps[:, 1, 1]
    determinant = a * d - b * c
    determinant = np.where(np.abs(determinant) < 1e-12, 1e-12, determinant)
    return np.stack([d, -b, -c, a], axis=1).reshape(-1, 2, 2) / determinant[:, None, None]
