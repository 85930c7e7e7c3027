"""`export_matches`: the whole of `astr export`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.files import real_path
from astr_cli.options.files import ExportOptions
from astr_cli.sfm.exports.formats import FORMATS
from astr_cli.sfm.exports.shared_keypoints import read_tracked
from astr_cli.store.errors import disk_full, is_full


@dataclass(frozen=True)
class ExportSummary:
    """The result of an export."""

    out: Path
    format: str
    files: tuple[str, ...]
    """Relative to `out`, sorted."""
    images_root: Path
    images: int
    keypoints: int
    pairs: int
    matches: int


def export_matches(options: ExportOptions) -> ExportSummary:
    """Joins matches.h5 to tracks and writes them into a folder; either all files are written, or none.

    Raises AstrError: unknown format, bad matches, names that the format cannot hold, existing files;
    Stopped: disk full.
    """
    if options.format not in FORMATS:
        raise AstrError(f"--format {options.format}: choose one of {', '.join(FORMATS)}")
    tracked = read_tracked(options.matches, options.tracks.min_score, options.tracks.merge_radius)
    root = options.images or _stored_root(options.matches, tracked.images_root)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=options.out) as scratch:
            FORMATS[options.format].write(tracked, Path(scratch), root)
            files = sorted(path.relative_to(scratch) for path in Path(scratch).rglob("*") if path.is_file())
            _check_targets(options, files)
            for file in files:
                (options.out / file).parent.mkdir(parents=True, exist_ok=True)
                (Path(scratch) / file).replace(options.out / file)
    except OSError as error:
        if is_full(error):
            raise disk_full(str(options.out)) from None
        raise AstrError(f"{options.out}: cannot be written ({error.strerror or error}); choose another --out") from None
    return ExportSummary(
        out=options.out,
        format=options.format,
        files=tuple(file.as_posix() for file in files),
        images_root=root,
        images=len(tracked.images),
        keypoints=sum(map(len, tracked.keypoints)),
        pairs=len(tracked.pairs),
        matches=sum(map(len, tracked.matches)),
    )


def _check_targets(options: ExportOptions, files: list[Path]) -> None:
    for file in files:
        target = options.out / file
        linked = next((folder for folder in file.parents if (options.out / folder).is_symlink()), Path())
        if linked != Path():
            raise AstrError(f"{options.out / linked}: is a link, which astr does not follow; remove it")
        if target.is_dir():
            raise AstrError(f"{target}: is a folder; choose another --out")
        if target.exists() and target.resolve() == options.matches.resolve():
            raise AstrError(f"{options.matches}: the export would overwrite this file; choose another --out")
        if target.exists() and not options.overwrite:
            raise AstrError(f"{target}: already exists; replace it with --overwrite")


def _stored_root(matches: Path, stored: str) -> Path:
    """The image root as seen from the matches file where there is such a folder, else from the current folder."""
    beside = real_path(matches).parent / stored
    return beside if beside.is_dir() else Path(stored)
