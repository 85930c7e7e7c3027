"""`astr bench sfm`: whole reconstructions beside COLMAP's SIFT."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astr_cli.cli.options import CameraMode, Json, LongSide, Weights

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astr_cli.bench.sfm import SfmFigures


def command(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Scenes: photos in images/ or in the folder itself, true cameras in gt.json if known."),
    ],
    work: Annotated[
        Path, typer.Option(help="Folder for matches, databases and models; what is done there is taken over.")
    ] = Path("runs/sfm"),
    pairs: Annotated[
        str, typer.Option(help="auto, exhaustive, sequential, spatial or retrieval, as astr reconstruct has it.")
    ] = "auto",
    weights: Weights = "astr-small",
    long_side: LongSide = None,
    sift_side: Annotated[int, typer.Option(help="Shrink photos to this many pixels for SIFT.", min=64)] = 1000,
    camera_mode: CameraMode = "auto",
    mapper: Annotated[str, typer.Option(help="incremental or global.")] = "incremental",
    refine: Annotated[bool, typer.Option("--refine", help="Refine both models, as astr reconstruct has it.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; SIFT is on the CPU.")] = "auto",
    as_json: Json = False,
) -> int:
    """Reconstruct folders of photos by astr and by COLMAP's SIFT, and print both side by side.

    Pairs, cameras, verification's RANSAC and the mapper are the same for both; SIFT has COLMAP's defaults. The centre
    error is the largest distance of a camera centre from the true one after similarity alignment, over the largest
    distance of two true ones.

    Examples:

    astr bench sfm scenes/fountain-P11 scenes/entry-P10

    astr bench sfm drone/ --pairs spatial --json

    Exit codes: 0 done; 2 nothing was started; 3 astr made no model; 130 stopped (the same command goes on).
    """
    from dataclasses import asdict

    from astr_cli.bench.sfm import SfmRequest, bench_sfm
    from astr_cli.cli import console
    from astr_cli.cli.match_output import make_report
    from astr_cli.cli.sfm_output import progress_line, stoppable
    from astr_cli.sfm.database.cameras import CameraOptions
    from astr_cli.sfm.mapping.mapper import MapOptions

    request = SfmRequest(
        folders=folders,
        work=work,
        pairs=pairs,
        weights=weights,
        long_side=long_side,
        sift_side=sift_side,
        cameras=CameraOptions(camera_mode),
        mapping=MapOptions(mapper, refine),
        device=device,
    )
    with stoppable(f"{work}: stopped; the same command goes on"), make_report(False, True) as report:
        found = bench_sfm(request, report.event, progress_line(as_json))
        if as_json:
            for figures in found:
                console.json_line({"event": "reconstruction", **asdict(figures)})
        else:
            _print_table(found)
    return 0


def _print_table(found: "Iterable[SfmFigures]") -> None:
    """Fits 80 columns. What a model would have is blank where none was made."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("scene, pairs", "by", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.columns[0].overflow = "fold"
    table.columns[0].min_width = 12
    for heading in ("photos", "centre\nerror", "mean\ntrack", "error\npx", "points", "GPS: within\n10 m, median"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figures in found:
        error, place, made = figures.centre_error, figures.gps_error, figures.registered > 0
        table.add_row(
            f"{figures.scene}, {figures.pairs}",
            figures.matcher,
            f"{figures.registered} of {figures.photos}",
            "" if error is None else f"{100 * error:.3f}%",
            f"{figures.mean_track:.2f}" if made else "",
            f"{figures.reprojection:.2f}" if made else "",
            str(figures.points) if made else "",
            "" if place is None else f"{figures.gps_photos}, {place:.2f} m",
        )
    Console(highlight=False, markup=False).print(table)
