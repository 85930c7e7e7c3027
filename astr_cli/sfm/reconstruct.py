"""`reconstruct`: photos to a model, every pair matched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.images import find_images
from astr_cli.matching import Listener, MatchOptions, MatchSummary, match_pairs
from astr_cli.pairs import format_pair
from astr_cli.sfm.cameras import CameraOptions
from astr_cli.sfm.database import check_target
from astr_cli.sfm.importing import ImportOptions, ImportSummary, import_matches
from astr_cli.sfm.mapping import ModelSummary, map_database

MOST_PHOTOS = 60  # 1,770 pairs; beyond that nobody wants every pair
FEWEST_PHOTOS = 3


@dataclass(frozen=True)
class ReconstructSummary:
    """What the three steps did."""

    matching: MatchSummary
    database: ImportSummary
    model: ModelSummary


def exhaustive_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Every two of the images, in their order."""
    return list(combinations(names, 2))


def reconstruct_files(out: Path) -> MatchOptions:
    """The options of a reconstruction's matching, with the files that it keeps in `out`."""
    return MatchOptions(pairs=out / "pairs.txt", out=out / "matches.h5")


def reconstruct(
    photos: Path,
    out: Path,
    matching: MatchOptions,
    cameras: CameraOptions,
    listener: Listener,
    tell: Callable[[str], None] = lambda line: None,
) -> ReconstructSummary:
    """Matches every two photos of a folder, makes a database and maps it, all in `out`: pairs.txt, matches.h5,
    database.db, and the models 0, 1, ..., largest first.

    matching: as from `reconstruct_files`, with whatever else is wished. The same call goes on where an earlier one
    stopped, and makes the database and the models anew. Raises AstrError: too few or too many photos, a database in
    `out` that is not ours, and all that the three steps raise.
    """
    names = _photos(photos, out)
    database = out / "database.db"
    _make_folder(out)
    check_target(database, replace_ours=True)
    lines = [format_pair(*pair) for pair in exhaustive_pairs(names)]
    _write_if_new(matching.pairs, "\n".join(lines) + "\n")
    matched = match_pairs(replace(matching, images=photos), listener)
    imported = import_matches(ImportOptions(database, matched.out, photos, cameras, replace_ours=True), tell)
    tell(f"mapping {imported.images} images")
    return ReconstructSummary(matched, imported, map_database(database, photos, out))


def _photos(photos: Path, out: Path) -> list[str]:
    """The photos of the folder, without what may lie in `out` (undistorted copies of an earlier run)."""
    inside = out.resolve()
    names = [name for name in find_images(photos) if inside not in (photos / name).resolve().parents]
    if len(names) < FEWEST_PHOTOS:
        raise AstrError(f"{photos}: {len(names)} photos are too few for a model; take at least {FEWEST_PHOTOS}")
    if len(names) > MOST_PHOTOS:
        count = len(names) * (len(names) - 1) // 2
        raise AstrError(
            f"{photos}: {len(names)} photos make {count} pairs, and reconstruct matches every pair of up to "
            f"{MOST_PHOTOS} only: write the pairs that overlap, two names a line, to pairs.txt, then run "
            f"astr match pairs.txt --images {photos} --out matches.h5 and astr colmap-import database.db"
        )
    return names


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AstrError(f"{out}: cannot be made a folder ({error.strerror}); choose another --out") from None


def _write_if_new(path: Path, text: str) -> None:
    try:
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise AstrError(f"{path}: cannot be written ({error.strerror}); choose another --out") from None
