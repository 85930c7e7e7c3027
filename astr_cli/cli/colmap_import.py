"""`astr colmap-import`: matches to a COLMAP database."""

from pathlib import Path
from typing import Annotated

import typer

from astr_cli.cli.options import CameraMode


def command(
    database: Annotated[Path, typer.Argument(metavar="DB", help="COLMAP database to make or add to.")],
    matches: Annotated[
        Path | None,
        typer.Option(help="What astr match wrote.", show_default="matches.h5 beside DB, else in the current folder"),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the photos.", show_default="the one they were matched from")
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="create: a new database; append: ours behind the keypoints and matches there; replace: ours instead "
            "of the matches there; fail: refuse a database that holds anything.",
            show_default="create; append where DB has all of the images",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would change.")] = False,
    backup: Annotated[
        bool, typer.Option("--backup/--no-backup", help="Keep what DB was before as DB.backup, when it changes.")
    ] = True,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Verify geometrically; without, nothing can be mapped yet.")
    ] = True,
    poses: Annotated[
        Path | None, typer.Option(help="COLMAP model folder with known poses: verify by them, prepare to triangulate.")
    ] = None,
    camera_mode: CameraMode = "auto",
    camera_model: Annotated[str, typer.Option(help="COLMAP camera model, such as OPENCV_FISHEYE.")] = "SIMPLE_RADIAL",
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
    max_keypoints: Annotated[
        int | None,
        typer.Option(min=1, help="Keep this many of a photo's keypoints, spread over it.", show_default="all"),
    ] = None,
    min_track: Annotated[int, typer.Option(min=2, help="Leave out tracks over fewer photos.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")] = False,
) -> int:
    """Join matches to tracks, write them to a COLMAP database, and verify them: ready to map.

    What a database holds is kept: keypoints (SIFT, ALIKED) with their numbers, matches, cameras, rigs, frames, priors.
    Ours come behind them, in place of those of an earlier import; the same import again changes nothing. Camera options
    are for images that DB does not have.

    Examples:

    astr colmap-import database.db

    astr colmap-import database.db --matches matches.h5 --images photos/ --camera-mode single

    astr colmap-import sift.db --dry-run

    astr colmap-import database.db --cameras cameras.txt

    astr colmap-import database.db --camera-mode per-folder --camera-model OPENCV_FISHEYE

    astr colmap-import database.db --poses sparse/0

    Exit codes: 0 done; 2 nothing was written; 3 done, but no pair passed verification; 4 disk full; 130 stopped (DB is
    as it was, the same command goes on).
    """
    from astr_cli.cli.sfm_output import print_difference, print_import, progress_line, stoppable
    from astr_cli.sfm.database.cameras import CameraOptions
    from astr_cli.sfm.database.importing import ImportOptions, import_matches

    options = ImportOptions(
        database=database,
        matches=matches,
        images=images,
        cameras=CameraOptions(camera_mode, camera_model.upper(), camera_params, cameras),
        min_score=min_score,
        merge_radius=merge_radius,
        max_keypoints=max_keypoints,
        min_track=min_track,
        mode=mode,
        verify=verify,
        poses=poses,
        dry_run=dry_run,
        backup=backup,
    )
    with stoppable(f"{database}: stopped; it is as it was before, and the same command goes on"):
        summary = import_matches(options, progress_line(as_json or quiet))
    if dry_run:
        print_difference(summary, as_json)
    else:
        print_import(summary, as_json, quiet, verify)
    return 3 if verify and not dry_run and not summary.verified.pairs else 0
