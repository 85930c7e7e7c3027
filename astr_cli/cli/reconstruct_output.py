"""The output of `astr reconstruct`: plain lines and a table of the doubtful pairs, or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from astr_cli.cli import console
from astr_cli.cli.match_lines import summary_lines
from astr_cli.cli.match_output import ProgressReport
from astr_cli.cli.sfm_output import LISTED, dense_lines, import_lines
from astr_cli.cli.survey_output import (
    camera_model_text,
    control_table,
    control_text,
    hold_text,
    intrinsics_warnings,
    place_text,
    place_warnings,
    precision_text,
    precision_warnings,
)
from astr_cli.sfm.mapping.camera_changes import CameraFigures, cameras_astray
from astr_cli.sfm.mapping.pair_agreement import PairFigures, doubtful_pairs, is_folded
from astr_cli.sfm.reconstruction.summary import database_record, pair_record, plain
from astr_cli.sfm.repeats.finding import Repeat
from astr_cli.wording import counted, listed

if TYPE_CHECKING:
    from astr_cli.sfm.mapping.mapper import ModelSummary
    from astr_cli.sfm.mapping.unregistered import Join
    from astr_cli.sfm.reconstruction.summary import ReconstructSummary

ROWS = 20  # of the table; summary.json has all
CAMERAS = 5  # that are printed
WEAK = 0.5  # verified pairs with a smaller share of inliers are shown


def print_reconstruction(summary: ReconstructSummary, report: ProgressReport, as_json: bool, quiet: bool) -> None:
    """Prints matches, database, doubtful pairs, the commands to run next, warnings, and last the model.

    report: prints the failed pairs; the report of the matching.
    """
    model = summary.model
    (report if as_json else ProgressReport()).summary(summary.matching)
    if not (as_json or quiet):
        matches = [line for line in summary_lines(summary.matching) if not line.startswith("next:")]
        for line in [*matches, *import_lines(summary.database)]:
            print(line)
        _print_pairs(summary.figures)
        if model.control is not None:
            Console(highlight=False, markup=False).print(control_table(model.control))
        print(f"{summary.file}: all of these figures, for every pair")
        print("next, for a dense point cloud (needs COLMAP with CUDA):")
        for line in dense_lines(summary.database.images_root, model.folder, model.folder.parent.parent / "dense"):
            print(f"  {line}", flush=True)
    for reason in summary.skipped[:LISTED]:
        console.warn(f"left out: {reason}")
    if len(summary.skipped) > LISTED:
        console.warn(f"left out: {len(summary.skipped) - LISTED} more; {summary.file} lists all")
    for warning in [*summary.pairs.warnings, *summary.database.warnings, *model_warnings(model)]:
        console.warn(warning)
    for warning in pair_warnings(summary.figures, model.repeats):
        console.warn(warning)
    if as_json:
        console.json_line({"event": "imported", **database_record(summary.database)})
        console.json_line({"event": "mapped", **plain(asdict(model))})
        console.json_line({"event": "image_pairs", "pairs": [pair_record(pair) for pair in summary.figures]})
    elif not quiet:
        for line in model_lines(model):
            print(line)


def model_lines(model: ModelSummary) -> Iterator[str]:
    """The model: its cameras, its position on the earth, and its photos and points."""
    yield from camera_lines(model.cameras)
    if model.camera_model is not None:
        yield camera_model_text(model.camera_model)
    if model.control is not None:
        yield f"{model.folder}: {control_text(model.control, model.heights, model.cameras)}"
    if model.georeference is not None:
        yield f"{model.folder}: {place_text(model.georeference, model.heights, model.cameras)}"
    if model.precision is not None and model.precision.metres:
        yield f"{model.folder}: {precision_text(model.precision)}"
    yield (
        f"{model.folder}: {len(model.registered)} of {model.images} photos registered, "
        f"{counted(model.points, 'point')}, mean track length {model.mean_track:.2f}, "
        f"mean reprojection error {model.reprojection_error:.2f} px"
    )


def camera_lines(cameras: Sequence[CameraFigures]) -> Iterator[str]:
    """The first few cameras, one line each."""
    for camera in cameras[:CAMERAS]:
        bend = "" if camera.distortion is None else f", radial distortion {camera.distortion:.3f}"
        before = f"initial {'value' if camera.known else 'guess'} {camera.prior:.0f} px"
        photos = counted(camera.photos, "photo")
        focal = f"focal length {camera.focal:.0f} px ({before})"
        yield f"camera {camera.number}, {photos}: {focal}{bend}{hold_text(camera)}"
    if len(cameras) > CAMERAS:
        yield f"and {counted(len(cameras) - CAMERAS, 'more camera')}"


def join_text(join: Join) -> str:
    """Which pairs might join a model to the largest one."""
    begin = f"model {join.model} ({counted(join.photos, 'photo')})"
    if not join.pairs:
        return f"{begin}: no pair with the largest model has matches; add such pairs, or photos in between"
    photo, other, inliers = join.pairs[0]
    if not inliers:
        return f"{begin}: nearest to the largest by {photo} and {other}, not verified; add photos between the two"
    return (
        f"{begin}: joined best by {photo} and {other} ({counted(inliers, 'verified match')}); add "
        "photos between the two"
    )


def model_warnings(model: ModelSummary) -> Iterator[str]:
    """Photos without a pose, separate models, and an uncertain position on the earth."""
    for photo in model.unregistered[:LISTED]:
        yield f"not registered: {photo.name}: {photo.reason}"
    if len(model.unregistered) > LISTED:
        yield f"not registered: {len(model.unregistered) - LISTED} more; summary.json gives the reasons"
    yield from camera_warnings(model.cameras)
    yield from intrinsics_warnings(model.cameras)
    if model.precision is not None:
        yield from precision_warnings(model.precision)
    if model.control_problem:
        yield f"the control points were not used: {model.control_problem}"
    if model.models > 1:
        yield f"{model.models} models, which share too few points to be joined; {model.folder} is the largest"
        yield from map(join_text, model.joins[:LISTED])
    if model.georeference is not None:
        yield from place_warnings(model.georeference, model.heights)


def camera_warnings(cameras: Sequence[CameraFigures]) -> Iterator[str]:
    """Implausible focal lengths and distortions."""
    found = cameras_astray(cameras)
    if not found:
        return
    worst = found[0]
    source = "EXIF or the options gave" if worst.known else "the initial guess was"
    bend = "" if worst.distortion is None else f", with distortion {worst.distortion:.2f}"
    more = f" (and {counted(len(found) - 1, 'more camera')})" if len(found) > 1 else ""
    one = "--camera-mode single if one camera took all photos, or " if len(cameras) > 1 else ""
    yield (
        f"camera {worst.number} ({worst.first}): focal length {worst.focal:.0f} px{bend}, but {source} "
        f"{worst.prior:.0f} px{more}, so the model is probably bent; try {one}--cameras with calibrated cameras, or a "
        "larger --long-side"
    )


def pair_warnings(figures: Sequence[PairFigures], repeats: Sequence[Repeat] | None) -> Iterator[str]:
    """Pairs that may be wrong because of repeated structure, and whether the model follows them.

    repeats: those that the check found; None: it did not run.
    """
    found = doubtful_pairs(figures)
    misled = {(pair.name0, pair.name1) for pair in repeats or ()}
    folded = repeats is not None and is_folded(figures, misled)
    if folded:
        yield (
            f"the model may be folded: it contradicts many pairs other than the {counted(len(misled), 'pair')} that "
            f"repeated structure misled{_remedy(repeats)}"
        )
    if found:
        named = listed([f"{pair.name0} and {pair.name1}" for pair in found], LISTED)
        what = "pair matches well but contradicts" if len(found) == 1 else "pairs match well but contradict"
        yield (
            f"{len(found)} {what} the model, which is typical of repeated structure such as facades: {named}; "
            f"{_consequence(repeats, folded)}"
        )


def _remedy(repeats: Sequence[Repeat] | None) -> str:
    """Where the misled pairs took part in mapping."""
    return "" if repeats and repeats[0].left_out else "; --repeats drop maps without those"


def _consequence(repeats: Sequence[Repeat] | None, folded: bool) -> str:
    if repeats is None:
        return "--repeats tell finds out whether the model follows such pairs and may be folded"
    if folded:
        return "one or the other is wrong"
    return "the model does not follow them: other pairs agree with it and connect its photos"


def _print_pairs(figures: Sequence[PairFigures]) -> None:
    """Prints the number of failed pairs and a table of the doubtful ones."""
    failed = sum(not pair.inliers for pair in figures)
    doubtful = sorted(
        (pair for pair in figures if pair.doubtful or 0 < pair.ratio < WEAK),
        key=lambda pair: (not pair.doubtful, pair.ratio),
    )
    print(
        f"{counted(len(figures), 'pair')} with matches: {failed} not verified; {len(doubtful)} doubtful, with less "
        f"than {100 * WEAK:.0f}% of the matches verified or of the inliers in agreement with the model"
    )
    if not doubtful:
        return
    title = f"the {ROWS} most doubtful of {len(doubtful)}" if len(doubtful) > ROWS else "doubtful pairs"
    table = Table("", "", title=title)
    for heading in ("matches", "inliers", "% inliers", "% agree with model"):
        table.add_column(heading, justify="right")
    for pair in doubtful[:ROWS]:
        agreeing = "" if pair.agreeing is None else f"{100 * pair.agreeing:.0f}{' !' if pair.doubtful else ''}"
        table.add_row(pair.name0, pair.name1, str(pair.matches), str(pair.inliers), f"{100 * pair.ratio:.0f}", agreeing)
    Console(highlight=False, markup=False).print(table)
