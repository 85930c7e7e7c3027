"""The output of `astr colmap-import`: plain lines, or JSON."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from astr_cli.cli import console
from astr_cli.errors import Interrupted
from astr_cli.matching.resources.signals import StopFlag, stop_on_signals
from astr_cli.sfm.reconstruction.summary import database_record, plain
from astr_cli.wording import counted

if TYPE_CHECKING:
    from astr_cli.refine.rules import Summary
    from astr_cli.sfm.database.importing import ImportSummary

LISTED = 10  # images that are listed by name


@contextmanager
def stoppable(message: str) -> Iterator[StopFlag]:
    """A flag that SIGTERM and Ctrl-C set: the step at hand is finished or cancelled, everything is tidied up, and the
    program ends with `message` and exit code 130. After a second signal it ends immediately.
    """

    def notify(name: str) -> None:
        print(f"astr: {name}: stopping after this step; once more ends it immediately", file=sys.stderr, flush=True)

    try:
        with stop_on_signals(notify, message) as stop:
            yield stop
    except KeyboardInterrupt:
        raise Interrupted(message) from None


def progress_line(as_json: bool, quiet: bool) -> Callable[[str], None]:
    """A function that prints a line before every long step, and during it: on standard error, or as a JSON object."""

    def tell(line: str) -> None:
        if as_json:
            console.json_line({"event": "progress", "text": line})
        elif not quiet:
            console.note(line)

    return tell


def print_import(summary: ImportSummary, as_json: bool, quiet: bool, verify: bool = True) -> None:
    """Prints what was written, and the commands to run next. verify: whether the pairs were verified."""
    for warning in summary.warnings:
        console.warn(warning)
    if as_json:
        console.json_line({"event": "imported", **database_record(summary)})
    elif not quiet:
        for line in import_lines(summary):
            print(line)
        if not verify:
            print("the pairs are not verified, so the database cannot be mapped yet; run it again without --no-verify")
        for line in next_lines(summary) if summary.verified.pairs else ():
            print(line)


def print_difference(summary: ImportSummary, as_json: bool) -> None:
    """Prints what an import would change; also with --quiet, because --dry-run has no other result."""
    for warning in summary.warnings:
        console.warn(warning)
    if as_json:
        change = plain(summary.difference._asdict())
        console.json_line({"event": "difference", "database": str(summary.database), **change})
    else:
        for line in difference_lines(summary):
            print(line)


def difference_lines(summary: ImportSummary) -> Iterator[str]:
    """Kept, written and removed."""
    change = summary.difference
    if not (change.keypoints_added or change.keypoints_removed or change.to_verify or change.images_added):
        yield f"{summary.database}: already contains this import; nothing would change"
        return
    made = {"create": "would be created", "append": "would be extended", "replace": "would get new matches"}
    yield f"{summary.database}: {made[change.mode]} (--dry-run: nothing was written)"
    names = f": {', '.join(change.images_added[:LISTED])}" if change.images_added else ""
    more = ", ..." if len(change.images_added) > LISTED else ""
    yield f"  images     +{len(change.images_added):,} ({change.images_kept:,} kept){names}{more}"
    yield f"  keypoints  +{change.keypoints_added:,} -{change.keypoints_removed:,} ({change.keypoints_kept:,} kept)"
    yield f"  matches    +{change.matches_added:,} -{change.matches_removed:,} ({change.matches_kept:,} kept)"
    yield (
        f"  pairs      {change.pairs_added:,} with astr's matches only, {change.pairs_extended:,} with astr's matches "
        f"after existing ones, {change.to_verify:,} to verify"
    )


def refinement_line(done: Summary) -> str:
    """The result of the refinement of keypoints."""
    precision = f" by {done.shift:.2f} px (median), to a precision of {done.sigma:.2f} px" if done.refined else ""
    return (
        f"refined {counted(done.refined, 'keypoint')}{precision}; {done.references:,} were the "
        f"reference of their track, {done.left:,} were left as matched, {done.dropped:,} were dropped"
    )


def import_lines(summary: ImportSummary) -> Iterator[str]:
    """The content of the database."""
    verified, change = summary.verified, summary.difference
    if not summary.changed:
        yield f"{summary.database}: already contains this import; nothing was changed"
    elif change.mode != "create":
        removed = f", {counted(change.matches_removed, 'earlier match')} removed" if change.matches_removed else ""
        yield (
            f"{summary.database}: {counted(change.keypoints_kept, 'keypoint')} and "
            f"{counted(change.matches_kept, 'match')} kept, "
            f"{counted(change.matches_added, 'match')} added{removed}"
        )
    if summary.backup is not None:
        yield f"{summary.backup}: the database before this import"
    if summary.refinement is not None:
        yield refinement_line(summary.refinement)
    others = summary.images_held > summary.images or summary.keypoints_held > summary.keypoints
    own = f"; astr's part: {counted(summary.keypoints, 'keypoint')} in {counted(summary.images, 'image')}"
    yield (
        f"{summary.database}: {counted(summary.images_held, 'image')}, {counted(summary.cameras, 'camera')} "
        f"({summary.known_focals} with known focal length), {counted(summary.keypoints_held, 'keypoint')}"
        f"{own if others else ''}"
    )
    yield (
        f"{counted(summary.tracks, 'track')}, each over {summary.mean_track:.1f} photos on average (median "
        f"{summary.median_track:g}); {100 * summary.two_view_share:.0f}% of tracks span only two photos"
    )
    yield f"tracks by number of photos: {histogram_text(summary.histogram)}"
    yield (
        f"{verified.pairs} of {counted(summary.pairs, 'pair')} verified, "
        f"{verified.inliers / max(verified.pairs, 1):,.0f} inliers per pair"
    )


def histogram_text(histogram: tuple[int, ...]) -> str:
    """`2: 6,086; 3: 4,478; ...`: tracks by number of photos, those over 10 photos or more counted together."""
    shown = [f"{length}: {count:,}" for length, count in enumerate(histogram[:10]) if count]
    more = sum(histogram[10:])
    return "; ".join([*shown, *([f"10 or more: {more:,}"] if more else [])])


def next_lines(summary: ImportSummary) -> Iterator[str]:
    """The commands from the database to a dense point cloud."""
    folder, root = summary.database.parent, summary.images_root
    sparse = _fresh(folder / "sparse")
    if summary.posed is not None:
        made = _fresh(folder / "triangulated")
        yield "next, to triangulate with the known poses:"
        yield f"  mkdir -p {_quoted(made)}"
        yield (
            f"  colmap point_triangulator --database_path {_quoted(summary.database)} --image_path {_quoted(root)} "
            f"--input_path {_quoted(summary.posed)} --output_path {_quoted(made)}"
        )
        yield "or, to map without the known poses:"
    else:
        yield "next, to map the database:"
    yield f"  mkdir -p {_quoted(sparse)}"
    yield (
        f"  colmap mapper --database_path {_quoted(summary.database)} --image_path {_quoted(root)} "
        f"--output_path {_quoted(sparse)}"
    )
    script = f"import pycolmap; pycolmap.incremental_mapping({str(summary.database)!r}, {str(root)!r}, {str(sparse)!r})"
    yield f"or, without the program colmap: python -c {_double_quoted(script)}"
    yield "then, for a dense point cloud (needs COLMAP with CUDA):"
    for line in dense_lines(root, sparse / "0", _fresh(folder / "dense")):
        yield f"  {line}"


def _fresh(folder: Path) -> Path:
    """The first of folder, folder-2, folder-3, ... that does not exist, so that COLMAP overwrites nothing."""
    number, found = 1, folder
    while found.exists():
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")
    return found


def dense_lines(root: Path, model: Path, dense: Path) -> Iterator[str]:
    """COLMAP's commands for the dense step."""
    yield (
        f"colmap image_undistorter --image_path {_quoted(root)} --input_path {_quoted(model)} "
        f"--output_path {_quoted(dense)}"
    )
    yield f"colmap patch_match_stereo --workspace_path {_quoted(dense)}"
    yield f"colmap stereo_fusion --workspace_path {_quoted(dense)} --output_path {_quoted(dense / 'fused.ply')}"


def _double_quoted(script: str) -> str:
    """In double quotes, which cmd.exe needs, unless the text contains characters that a shell expands there."""
    return shlex.quote(script) if set(script) & set('"$`\\!') else f'"{script}"'


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
