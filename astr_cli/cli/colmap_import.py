"""`astr colmap-import`: matches to a COLMAP database."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    database: Annotated[Path, typer.Argument(metavar="DB", help="COLMAP database to make, such as database.db.")],
    matches: Annotated[
        Path | None,
        typer.Option(help="What astr match wrote.", show_default="matches.h5 beside DB, else in the working folder"),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the photos.", show_default="the one they were matched from")
    ] = None,
    camera_mode: Annotated[
        str,
        typer.Option(
            help="auto (photos of one EXIF camera share it), single, per-folder or per-image: who shares a camera."
        ),
    ] = "auto",
    camera_model: Annotated[str, typer.Option(help="COLMAP camera model.")] = "SIMPLE_RADIAL",
    camera_params: Annotated[
        str | None,
        typer.Option(
            help="Parameters of that model, separated by commas.",
            show_default="focal length from EXIF, else a guess",
        ),
    ] = None,
    cameras: Annotated[
        Path | None, typer.Option(help="Known cameras: a COLMAP model folder, database or cameras.txt.")
    ] = None,
    min_score: Annotated[float, typer.Option(help="Leave out matches below this confidence.")] = 0.0,
    merge_radius: Annotated[
        float,
        typer.Option(min=0.0, help="Matches this close become one track; pixels of the size that was matched at."),
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")] = False,
) -> int:
    """Join matches to tracks, write them to a new COLMAP database, and verify it: ready to map.

    A database that holds anything is refused, and nothing in it changes.

    Examples:

    astr colmap-import database.db

    astr colmap-import database.db --matches matches.h5 --images photos/ --camera-mode single

    astr colmap-import database.db --cameras cameras.txt

    Exit codes: 0 done; 2 nothing was written; 4 disk full; 130 stopped, nothing was written.
    """
    from astr_cli.cli.sfm_output import print_import, progress_line, stoppable
    from astr_cli.sfm import CameraOptions, ImportOptions, import_matches

    options = ImportOptions(
        database=database,
        matches=matches,
        images=images,
        cameras=CameraOptions(camera_mode, camera_model.upper(), camera_params, cameras),
        min_score=min_score,
        merge_radius=merge_radius,
    )
    with stoppable(f"{database}: stopped; nothing was written"):
        summary = import_matches(options, progress_line(as_json or quiet))
    print_import(summary, as_json, quiet)
    return 0
