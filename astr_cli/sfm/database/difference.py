"""The changes that an import would make to an existing database: the mode, and the counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.database.atomic import Target
from astr_cli.sfm.database.contents import Existing
from astr_cli.sfm.database.locked import DatabaseError
from astr_cli.sfm.database.pair_ids import pair_id, pair_images
from astr_cli.sfm.tracks.match_rows import MatchedImage
from astr_cli.wording import counted

MODES = ("create", "append", "replace", "fail")


class Difference(NamedTuple):
    """The numbers of keypoints, matches and images kept, written and removed."""

    mode: str
    """create: a new database; append: astr's data after the existing data; replace: instead of existing matches."""
    images_kept: int
    images_added: tuple[str, ...]
    keypoints_kept: int
    """Of other origin: SIFT, ALIKED, ..."""
    keypoints_added: int
    keypoints_removed: int
    """Of an earlier astr import."""
    matches_kept: int
    matches_added: int
    matches_removed: int
    pairs_added: int
    """Pairs that get matches and had none."""
    pairs_extended: int
    """Pairs whose existing matches are followed by astr's."""
    to_verify: int
    """Pairs that need a geometry."""
    images_losing: tuple[str, ...] = ()
    """Images with matches before, and none after."""


def choose_mode(
    path: Path, mode: str | None, target: Target, existing: Existing, images: Sequence[MatchedImage]
) -> str:
    """create, append or replace, from the requested mode (None: the one that fits) and the existing database.

    Raises DatabaseError with the mode to use instead.
    """
    if mode is not None and mode not in MODES:
        raise DatabaseError(f"--mode {mode}: choose one of {', '.join(MODES)}")
    if not target.tables or mode == "create":
        return "create"
    if mode == "fail":
        raise DatabaseError(f"{path}: already contains {', '.join(target.tables[:3])}; choose another name or --mode")
    missing = [matched.name for matched in images if matched.name not in existing.images]
    if mode is None and missing:
        other = other_folder(path, existing.images, missing)
        if other is not None:
            raise DatabaseError(other)
        held = len(images) - len(missing)
        some = f"; it has {min(existing.images)}" if existing.images and not held else ""
        raise DatabaseError(
            f"{path}: already contains {len(existing.images)} images, but {held} of the {len(images)} matched ones "
            f"(not {missing[0]}{some}); add them with --mode append, or start over with --mode create (keeps a backup)"
        )
    _check_sizes(path, existing, images)
    for image in existing.images.values():
        points = existing.points.get(image.number)
        if points is not None and points.first + points.ours < points.rows:
            raise DatabaseError(
                f"{path}: another program added keypoints after those of an earlier import, so astr cannot replace "
                "them; import into the earlier backup, or use --mode create"
            )
    return mode or "append"


def other_folder(path: Path, existing: Iterable[str], missing: Sequence[str]) -> str | None:
    """What to do when names are those of the database but for a folder in front; None: they are other names.

    missing: names of matched images that the database lacks, at least one.
    """
    names, first = set(existing), missing[0]
    for longer in sorted(names):
        front = longer.removesuffix(first)
        if front != longer and front.endswith("/") and all(front + name in names for name in missing):
            return (
                f"{path}: its names begin with {front} ({longer}), the matched ones do not ({first}), so each photo "
                f"would come twice; match again with {front} in the names, and --images one folder up"
            )
    for shorter in sorted(names):
        front = first.removesuffix(shorter)
        if front != first and front.endswith("/") and all(name.removeprefix(front) in names for name in missing):
            return (
                f"{path}: the matched names begin with {front} ({first}), its own do not ({shorter}), so each photo "
                f"would come twice; match again without {front} in the names, and with {front} in --images"
            )
    return None


def check_kept(path: Path, matches: Path, existing: Existing, pairs: Iterable[tuple[str, str]]) -> None:
    """Raises DatabaseError when `pairs` of names, those of `matches`, lack some of an earlier astr import.

    An import takes the place of the earlier one as a whole: without this, the first of two files would be lost.
    """
    numbers = {name: image.number for name, image in existing.images.items()}
    there = {pair_id(numbers[a], numbers[b]) for a, b in pairs if a in numbers and b in numbers}
    lost = sorted(existing.our_pairs - there)
    if lost:
        names = {number: name for name, number in numbers.items()}
        first, second = (names[number] for number in pair_images(lost[0]))
        raise DatabaseError(
            f"{path}: an earlier astr import has {counted(len(lost), 'pair')} that {matches} lacks (for example "
            f"{first} and {second}), which this import would remove; give the files of both by --matches, or "
            "--replace-import"
        )


def _check_sizes(path: Path, existing: Existing, images: Sequence[MatchedImage]) -> None:
    for matched in images:
        image = existing.images.get(matched.name)
        if image is not None and image.size != matched.size:
            (width, height), (w, h) = image.size, matched.size
            raise DatabaseError(
                f"{path}: the camera of {matched.name} is {width}x{height}, but the photo was matched as {w}x{h}; "
                "match the same photos that the database was made from"
            )


def difference(
    mode: str,
    existing: Existing,
    images: Sequence[MatchedImage],
    keypoints: int,
    pairs: NDArray[np.int32],
    counts: Sequence[int] | NDArray[np.int64],
) -> Difference:
    """The changes that `mode` makes in a database with `keypoints` keypoints and the given matches per pair."""
    numbers = [existing.images[matched.name].number if matched.name in existing.images else 0 for matched in images]
    filled = [pair for pair, count in zip(pairs, counts, strict=True) if count]
    known = [numbers[a] and numbers[b] and pair_id(numbers[a], numbers[b]) in existing.foreign_pairs for a, b in filled]
    extended = sum(map(bool, known)) if mode == "append" else 0
    ours = sum(points.ours for points in existing.points.values())
    foreign = 0 if mode == "replace" else existing.foreign
    return Difference(
        mode=mode,
        images_kept=len(existing.images),
        images_added=tuple(matched.name for matched in images if matched.name not in existing.images),
        keypoints_kept=sum(points.rows for points in existing.points.values()) - ours,
        keypoints_added=keypoints,
        keypoints_removed=ours,
        matches_kept=foreign,
        matches_added=int(sum(counts)),
        matches_removed=existing.matches - foreign,
        pairs_added=len(filled) - extended,
        pairs_extended=extended,
        to_verify=len(filled),
        images_losing=_losing(existing, {numbers[image] for pair in filled for image in pair}, mode == "append"),
    )


def _losing(existing: Existing, matched: set[int], foreign: bool) -> tuple[str, ...]:
    """Names of images with matches before, but not in astr's nor (if they stay) in the matches of other origin."""
    kept = matched | _images_of(existing.foreign_pairs if foreign else ())
    lost = _images_of(existing.filled_pairs) - kept
    return tuple(sorted(name for name, image in existing.images.items() if image.number in lost))


def _images_of(pairs: Iterable[int]) -> set[int]:
    return {image for pair in pairs for image in pair_images(pair)}


def unchanged(mode: str, existing: Existing, to_verify: int) -> Difference:
    """The difference when all matches exist already."""
    keypoints = sum(points.rows for points in existing.points.values())
    return Difference(mode, len(existing.images), (), keypoints, 0, 0, existing.matches, 0, 0, 0, 0, to_verify)
