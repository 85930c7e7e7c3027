"""`astr reconstruct`: photos to a COLMAP model."""

from pathlib import Path
from typing import Annotated

import typer

from astr_cli.cli.options import (
    CameraMode,
    Device,
    Json,
    LongSide,
    Masks,
    MaxMatches,
    Rotate,
    SkipBad,
    Threshold,
    Tiles,
    Weights,
    Workers,
)


def command(
    photos: Annotated[Path, typer.Argument(help="Folder of the photos; folders in it are searched too.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pairs, matches, database and models.")],
    weights: Weights = "astr-small",
    long_side: LongSide = None,
    threshold: Threshold = 0.2,
    max_matches: MaxMatches = None,
    tiles: Tiles = False,
    rotate: Rotate = "exif",
    masks: Masks = None,
    cameras: Annotated[
        str, typer.Option(help="exif, none, or known cameras: a COLMAP model folder, database or cameras.txt.")
    ] = "exif",
    camera_mode: CameraMode = "auto",
    camera_model: Annotated[str, typer.Option(help="COLMAP camera model.")] = "SIMPLE_RADIAL",
    camera_params: Annotated[
        str | None,
        typer.Option(
            help="Parameters of that model, separated by commas.",
            show_default="focal length from EXIF, else a guess",
        ),
    ] = None,
    pairs: Annotated[
        str,
        typer.Option(
            help="auto (every pair of up to 60 photos, else the nearest by GPS or by look), exhaustive, sequential, "
            "spatial, retrieval, or a file with two names a line."
        ),
    ] = "auto",
    mapper: Annotated[
        str, typer.Option(help="incremental: photo by photo; global: all cameras at a time, quicker for hundreds.")
    ] = "incremental",
    refine: Annotated[
        bool, typer.Option("--refine", help="Verify and triangulate anew by the poses found, and adjust once more.")
    ] = False,
    device: Device = "auto",
    workers: Workers = 2,
    skip_bad: SkipBad = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Match anew, whatever an earlier run left in OUT.")
    ] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")] = False,
) -> int:
    """Make a sparse model of a folder of photos: choose pairs, match them, make a COLMAP database, and map it.

    OUT gets pairs.txt, matches.h5, database.db, summary.json and the models sparse/0, sparse/1, ... (largest first) in
    COLMAP's form; where OUT itself is called sparse, the models are 0, 1, ... in it. Photos with GPS positions give a
    model in metres. Stopped at any time, the same command goes on where it was.

    Examples:

    astr reconstruct photos/ --out model/

    astr reconstruct photos/ --out model/ --camera-mode single --long-side 1024 --refine

    astr reconstruct drone/ --out model/ --pairs spatial --mapper global --tiles --masks masks/

    Exit codes: 0 done; 2 nothing was started; 3 no model, or photos were left out by --skip-bad, or some pairs failed
    (the same command tries them again); 4 stopped, disk or memory full, and 130 stopped by a signal (the same command
    goes on).
    """
    from dataclasses import replace

    from astr_cli.cli.match_output import make_report
    from astr_cli.cli.reconstruct_output import print_reconstruction
    from astr_cli.cli.sfm_output import progress_line, stoppable
    from astr_cli.sfm.database.cameras import CameraOptions
    from astr_cli.sfm.mapping.mapper import MapOptions
    from astr_cli.sfm.reconstruct import ReconstructOptions, reconstruct, reconstruct_files

    known = None if cameras in ("exif", "none") else Path(cameras)
    matching = replace(
        reconstruct_files(out),
        weights=weights,
        long_side=long_side,
        threshold=threshold,
        max_matches=max_matches,
        tiles=tiles,
        rotate=rotate,
        masks=masks,
        cameras=cameras,
        device=device,
        workers=workers,
        skip_bad=skip_bad,
        overwrite=overwrite,
    )
    shared = CameraOptions(camera_mode, camera_model.upper(), camera_params, known)
    options = ReconstructOptions(photos, out, matching, shared, MapOptions(mapper, refine), pairs)
    with stoppable(f"{out}: stopped; the same command goes on"), make_report(as_json, quiet) as report:
        summary = reconstruct(options, report.event, progress_line(as_json or quiet), report.stop)
    print_reconstruction(summary, report, as_json, quiet)
    return 3 if summary.matching.failed or summary.skipped else 0
