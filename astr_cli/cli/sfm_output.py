"""What `astr colmap-import` and `astr reconstruct` print: plain lines, or JSON."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from astr_cli.cli import console
from astr_cli.errors import Interrupted

if TYPE_CHECKING:
    from astr_cli.cli.match_output import Report
    from astr_cli.sfm import ImportSummary, ModelSummary
    from astr_cli.sfm.reconstruct import ReconstructSummary

LISTED = 10  # missing images that are written out


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Makes SIGTERM and Ctrl-C in a long step end with one line and exit code 130, after everything is tidied up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(message) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def progress_line(silent: bool) -> Callable[[str], None]:
    """Prints a line on standard error before every longer step, or nothing."""

    def tell(line: str) -> None:
        if not silent:
            print(line, file=sys.stderr, flush=True)

    return tell


def print_import(summary: ImportSummary, as_json: bool, quiet: bool) -> None:
    """What was written, and the commands to run next."""
    for warning in summary.warnings:
        console.warn(warning)
    if as_json:
        console.json_line({"event": "imported", **_plain(asdict(summary))})
    elif not quiet:
        for line in [*import_lines(summary), *next_lines(summary)]:
            print(line)


def print_reconstruction(summary: ReconstructSummary, report: Report, as_json: bool, quiet: bool) -> None:
    """Matches, database, model, and the commands to run next; failed pairs by `report`, the one that matching had."""
    from astr_cli.cli.match_output import Report, summary_lines

    model = summary.model
    (report if as_json else Report()).summary(summary.matching)
    for warning in [*summary.database.warnings, *model_warnings(model)]:
        console.warn(warning)
    if as_json:
        console.json_line({"event": "imported", **_plain(asdict(summary.database))})
        console.json_line({"event": "mapped", **_plain(asdict(model))})
    elif not quiet:
        matches = [line for line in summary_lines(summary.matching) if not line.startswith("next:")]
        for line in [*matches, *import_lines(summary.database), *model_lines(model)]:
            print(line)
        print("next, for a dense cloud (COLMAP with CUDA):")
        for line in dense_lines(summary.database.images_root, model.folder, model.folder.parent / "dense"):
            print(f"  {line}")


def import_lines(summary: ImportSummary) -> Iterator[str]:
    """The content of the database."""
    verified = summary.verified
    yield (
        f"{summary.database}: {summary.images} images, {summary.cameras} cameras "
        f"({summary.known_focals} with known focal length), {summary.keypoints} keypoints"
    )
    yield (
        f"{summary.tracks} tracks over {summary.mean_track:.1f} images in the mean, median "
        f"{summary.median_track:g}; images: tracks {histogram_text(summary.histogram)}"
    )
    yield (
        f"{verified.pairs} of {summary.pairs} pairs verified, "
        f"{verified.inliers / max(verified.pairs, 1):.0f} inliers a pair"
    )


def model_lines(model: ModelSummary) -> Iterator[str]:
    """The content of the model."""
    yield (
        f"{model.folder}: {len(model.registered)} of {model.images} images registered, {model.points} points, "
        f"mean track {model.mean_track:.2f}, reprojection error {model.reprojection_error:.2f} px"
    )


def model_warnings(model: ModelSummary) -> Iterator[str]:
    """The images without a pose, and models that did not join."""
    if model.missing:
        more = f" and {len(model.missing) - LISTED} more" if len(model.missing) > LISTED else ""
        yield f"not registered: {', '.join(model.missing[:LISTED])}{more}"
    if model.models > 1:
        yield f"{model.models} models came out that share too little to be joined; {model.folder} is the largest"


def histogram_text(histogram: tuple[int, ...]) -> str:
    """`2: 6086, 3: 4478, ...`, all of 10 images and more in one."""
    shown = [f"{length}: {count}" for length, count in enumerate(histogram[:10]) if count]
    more = sum(histogram[10:])
    return ", ".join([*shown, *([f"10 and more: {more}"] if more else [])])


def next_lines(summary: ImportSummary) -> Iterator[str]:
    """From the database to a dense cloud."""
    folder = summary.database.parent
    sparse, root = folder / "sparse", summary.images_root
    yield "next, to map it:"
    yield f"  mkdir -p {_quoted(sparse)}"
    yield (
        f"  colmap mapper --database_path {_quoted(summary.database)} --image_path {_quoted(root)} "
        f"--output_path {_quoted(sparse)}"
    )
    script = f"import pycolmap; pycolmap.incremental_mapping({str(summary.database)!r}, {str(root)!r}, {str(sparse)!r})"
    yield f"or, where there is no colmap: python -c {_double_quoted(script)}"
    yield "then, for a dense cloud (COLMAP with CUDA):"
    for line in dense_lines(root, sparse / "0", folder / "dense"):
        yield f"  {line}"


def dense_lines(root: Path, model: Path, dense: Path) -> Iterator[str]:
    """COLMAP's commands of the dense step."""
    yield (
        f"colmap image_undistorter --image_path {_quoted(root)} --input_path {_quoted(model)} "
        f"--output_path {_quoted(dense)}"
    )
    yield f"colmap patch_match_stereo --workspace_path {_quoted(dense)}"
    yield f"colmap stereo_fusion --workspace_path {_quoted(dense)} --output_path {_quoted(dense / 'fused.ply')}"


def _double_quoted(script: str) -> str:
    """Readable, and right in cmd.exe too, where nothing in the paths forbids it."""
    return shlex.quote(script) if set(script) & set('"$`\\!') else f'"{script}"'


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _plain(record: Mapping[str, object]) -> dict[str, object]:
    """The record with paths as text and named tuples as objects."""
    return {name: _json_value(value) for name, value in record.items()}


def _json_value(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return value._asdict() if hasattr(value, "_asdict") else value
