"""The content of a report as plain values for its page: numbers, texts, and arrays in base64."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.report.model_view import ModelView, PosedPhoto, view_model
from astr_cli.report.pair_list import Pair, drawn_pairs, list_pairs, read_drawn
from astr_cli.report.photo_list import Face, StoredPhoto, list_photos, read_faces
from astr_cli.report.sources import Sources, find_photos
from astr_cli.report.warnings import warning_lines
from astr_cli.sfm.mapping.mapper import ModelSummary
from astr_cli.sfm.mapping.place_errors import place_errors
from astr_cli.sfm.reconstruction.stages import read_stages
from astr_cli.wording import counted

MOST_SEEN = 300_000  # keypoints drawn on all thumbnails
SEEN = (100, 1500)  # of one photo
MOST_LENGTH = 255  # a track length in a byte
ERROR_UNIT = 0.02  # pixels: a reprojection error in a byte, 255 = unknown
BINS = 40

Values = dict[str, Any]


class Described(NamedTuple):
    """A model in words."""

    lines: tuple[str, ...]
    warnings: tuple[str, ...]


Describe = Callable[[ModelSummary], Described]


def contents(sources: Sources, images: Path | None, tell: Callable[[str], None], describe: Describe) -> Values:
    """Everything that the page shows. Raises AstrError: a file cannot be read."""
    described = describe(sources.mapped) if sources.mapped is not None else Described((), ())
    place = sources.summary["model"]["georeference"] if sources.summary is not None else None
    control = sources.mapped.control if sources.mapped is not None else None
    upright = control is not None or (place is not None and place["upright"])
    model = view_model(sources.model, upright) if sources.model is not None else None
    posed = {photo.name: photo for photo in model.photos} if model is not None else {}
    stored = list_photos(sources, [(photo.name, photo.size) for photo in posed.values()])
    root = find_photos(sources, images, [photo.name for photo in stored])
    faces = read_faces(stored, root, tell)
    pairs = list_pairs(sources)
    errors = _place_errors(sources, model, place) if control is None else {}  # which has axes of its own
    photos = [
        _photo(photo, faces[photo.name], posed.get(photo.name), errors.get(photo.name), len(stored)) for photo in stored
    ]
    _explain_missing(photos, sources)
    missing = [photo for photo in stored if faces[photo.name].image is None]
    return {
        "title": sources.named.resolve().name or str(sources.named),
        "facts": list(_facts(stored, pairs, model, sources)),
        "warnings": warning_lines(
            sources, described.warnings, photos, pairs, [(each.name, faces[each.name].problem) for each in missing]
        ),
        "photos": photos,
        "pairs": _pairs(sources, pairs, [photo.name for photo in stored], faces),
        "repeats": _repeats(sources),
        "model": None if model is None else _model(model, place is not None or control is not None, upright),
        "control": [] if control is None else [each._asdict() for each in control.residuals],
        "lines": described.lines,
        "histograms": list(_histograms(model, pairs)),
        "options": sources.options.read_text(encoding="utf-8", errors="replace") if sources.options else "",
        "runs": read_stages(sources.times) if sources.times is not None else [],
    }


def packed(array: NDArray[Any]) -> str:
    """The bytes of an array, little-endian, in base64."""
    return b64encode(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()).decode()


def _number(value: float | None) -> float | None:
    """A number for JSON; None where there is none."""
    return float(f"{value:.6g}") if value is not None and isfinite(value) else None


def _photo(
    stored: StoredPhoto, face: Face, posed: PosedPhoto | None, error: NDArray[np.float64] | None, photos: int
) -> Values:
    values: Values = {
        "name": stored.name,
        "image": "" if face.image is None else b64encode(face.image.jpeg).decode(),
        "size": face.size if face.image is None else face.image.size,
        "pixels": face.size,
        "problem": face.problem,
        "keypoints": stored.keypoints,
        "prior": _number(stored.prior),
        "known": stored.known,
        "exif": _number(face.focal),
        "posed": posed is not None,
    }
    if posed is None:
        return values
    sight, most = posed.sight, int(np.clip(MOST_SEEN // photos, *SEEN))
    rows = np.linspace(0, len(sight.lengths) - 1, min(most, len(sight.lengths))).round().astype(np.int64)
    known = sight.errors[np.isfinite(sight.errors)]
    shown = np.clip(np.rint(sight.errors[rows] / ERROR_UNIT), 0, 254)
    values |= {
        "points": len(sight.lengths),
        "error": _number(float(known.mean())) if len(known) else None,
        "focal": _number(posed.focal),
        "camera": posed.camera,
        "centre": [_number(value) for value in posed.centre],
        "corners": [[_number(value) for value in corner] for corner in posed.corners],
        "seen": packed(face.places(sight.places[rows] - 0.5)),
        "lengths": packed(np.minimum(sight.lengths[rows], MOST_LENGTH).astype(np.uint8)),
        "errors": packed(np.where(np.isfinite(shown), shown, 255).astype(np.uint8)),
    }
    if error is not None:
        values["place"] = [_number(value) for value in error]
    return values


def _place_errors(
    sources: Sources, model: ModelView | None, place: Mapping[str, Any] | None
) -> dict[str, NDArray[np.float64]]:
    """(3,) metres, in the coordinates of the model's file. They are east, north and up if the model is upright; if it
    is not, only their lengths mean something.
    """
    if sources.database is None or model is None or place is None:
        return {}
    origin = (float(place["latitude"]), float(place["longitude"]), float(place["altitude"]))
    centres = {photo.name: model.turn.T @ photo.centre for photo in model.photos}
    return place_errors(sources.database, centres, origin)


def _explain_missing(photos: Sequence[Values], sources: Sources) -> None:
    """Says why photos are not registered, where summary.json does."""
    if sources.summary is None:
        return
    reasons = {row["name"]: row["reason"] for row in sources.summary["model"]["unregistered"]}
    for photo in photos:
        if not photo["posed"]:
            photo["reason"] = reasons.get(photo["name"], "")


def _facts(
    photos: Sequence[StoredPhoto], pairs: Sequence[Pair], model: ModelView | None, sources: Sources
) -> Iterator[tuple[str, str]]:
    """Label and value of the figures at the top."""
    if model is not None:
        yield "photos registered", f"{len(model.photos)} of {len(photos)}"
        yield "points", f"{len(model.all_lengths):,}"
        if len(model.all_lengths):
            yield "mean track length", f"{model.all_lengths.mean():.2f}"
        if np.isfinite(model.all_errors).any():
            yield "mean reprojection error", f"{np.nanmean(model.all_errors):.2f} px"
    else:
        yield "photos", f"{len(photos):,}"
    if pairs:
        yield "pairs", f"{len(pairs):,}"
        known = [pair.inliers for pair in pairs if pair.inliers is not None]
        if known:
            yield "pairs verified", f"{sum(map(bool, known)):,} of {len(known):,}"
    if sources.summary is not None and sources.summary["model"]["models"] > 1:
        yield "models", counted(sources.summary["model"]["models"], "model")


def _pairs(sources: Sources, pairs: tuple[Pair, ...], names: list[str], faces: Mapping[str, Face]) -> Values:
    number = {name: row for row, name in enumerate(names)}
    pairs = tuple(pair for pair in pairs if pair.name0 in number and pair.name1 in number)
    rows = drawn_pairs(pairs)
    drawn = {}
    for row, found in zip(rows, read_drawn(sources, [pairs[row] for row in rows]), strict=True):
        if found is not None and len(found.verified):
            pair = pairs[row]
            ends = np.column_stack([faces[pair.name0].places(found.places0), faces[pair.name1].places(found.places1)])
            drawn[row] = [packed(ends), packed(found.verified)]
    inliers = [-1 if pair.inliers is None else pair.inliers for pair in pairs]
    agreeing = [np.nan if pair.agreeing is None else pair.agreeing for pair in pairs]
    return {
        "first": packed(np.array([number[pair.name0] for pair in pairs], np.uint32)),
        "second": packed(np.array([number[pair.name1] for pair in pairs], np.uint32)),
        "matches": packed(np.array([pair.matches for pair in pairs], np.uint32)),
        "inliers": packed(np.array(inliers, np.int32)),
        "agreeing": packed(np.array(agreeing, np.float32)),
        "drawn": drawn,
    }


def _repeats(sources: Sources) -> list[Values]:
    """The pairs that repeated structure misled, with the reasons; empty where astr did not look for them."""
    if sources.model is None or sources.summary is None:
        return []
    return sources.summary["model"].get("repeats") or []


def _model(model: ModelView, metric: bool, upright: bool) -> Values:
    errors = np.clip(np.nan_to_num(model.errors, nan=0.0) / ERROR_UNIT, 0, 254)
    return {
        "points": packed(model.points),
        "colours": packed(model.colours),
        "lengths": packed(np.minimum(model.lengths, MOST_LENGTH).astype(np.uint8)),
        "errors": packed(np.rint(errors).astype(np.uint8)),
        "box": [[_number(value) for value in corner] for corner in model.box],
        "total": len(model.all_lengths),
        "unit": "m" if metric else "",
        "upright": upright,
    }


def _histograms(model: ModelView | None, pairs: Sequence[Pair]) -> Iterator[Values]:
    if model is not None and len(model.all_lengths):
        yield _histogram("track length", "photos that see a point", "points", model.all_lengths, whole=True)
        yield _histogram("reprojection error", "pixels, mean of a point", "points", model.all_errors)
        yield _histogram("angle between rays", "degrees, the largest of a point", "points of a sample", model.angles)
    if pairs:
        yield _histogram("matches per pair", "matches", "pairs", np.array([pair.matches for pair in pairs]))
        known = np.array([pair.inliers for pair in pairs if pair.inliers is not None])
        if len(known):
            yield _histogram("verified matches per pair", "verified matches", "pairs", known)


def _histogram(title: str, across: str, up: str, values: NDArray[Any], whole: bool = False) -> Values:
    """Counts of values, those above their 99.5th percentile in the last bin; whole: one bin per number."""
    known = values[np.isfinite(values)].astype(np.float64)
    top = float(np.percentile(known, 99.5)) if len(known) else 1.0
    if whole:
        edges = np.arange(0.5, max(2.0, np.ceil(top)) + 1)
    else:
        edges = np.linspace(0, top or 1.0, BINS + 1)
    counts, _ = np.histogram(np.minimum(known, edges[-1]), edges)
    return {
        "title": title,
        "across": across,
        "up": up,
        "edges": [_number(edge) for edge in edges],
        "counts": counts.tolist(),
        "median": _number(float(np.median(known))) if len(known) else None,
    }
