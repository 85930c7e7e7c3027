"""`astr export`: matches in the forms that other pipelines read."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    matches: Annotated[Path, typer.Argument(help="What astr match wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.")],
    form: Annotated[
        str,
        typer.Option("--format", "-f", help="hloc, imc (keypoints.h5 and matches.h5), colmap (text) or openmvg."),
    ] = "hloc",
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the photos, for openmvg.", show_default="the one they were matched from"),
    ] = None,
    min_score: Annotated[float, typer.Option(help="Leave out matches below this confidence.")] = 0.0,
    merge_radius: Annotated[
        float,
        typer.Option(min=0.0, help="Matches this close become one track; pixels of the size that was matched at."),
    ] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of an earlier export.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> int:
    """Join matches to tracks, and write keypoints that all pairs share for another pipeline.

    hloc: features.h5 and matches.h5 (matches0), pairs.txt. imc: keypoints.h5 and matches.h5, as kornia and Kaggle have
    them. colmap: text for feature_importer and matches_importer; a database comes from astr colmap-import. openmvg:
    sfm_data.json, features and matches.putative.txt.

    Examples:

    astr export matches.h5 --format hloc --out hloc/

    astr export matches.h5 --format openmvg --out openmvg/ --images photos/

    Exit codes: 0 done; 2 nothing was written; 4 disk full.
    """
    import shlex
    from dataclasses import asdict

    from astr_cli.cli import console
    from astr_cli.sfm.exports.export import ExportOptions, export_matches

    summary = export_matches(ExportOptions(matches, out, form, images, min_score, merge_radius, overwrite))
    if as_json:
        record = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(summary).items()}
        console.json_line({"event": "exported", **record})
    elif not quiet:
        print(f"{out}: {summary.images} images, {summary.keypoints} keypoints, {summary.pairs} pairs")
        print(f"{len(summary.files)} files: {', '.join(summary.files[:4])}{', ...' if len(summary.files) > 4 else ''}")
        for line in next_lines(form, shlex.quote(str(out)).rstrip("/"), shlex.quote(str(summary.images_root))):
            print(line)
    return 0


def next_lines(form: str, out: str, images: str) -> list[str]:
    """How the other pipeline goes on, a line each."""
    if form == "colmap":
        database = f"--database_path {out}/database.db"
        return [
            f"next: colmap feature_importer {database} --image_path {images} --import_path {out}/keypoints",
            f"      colmap matches_importer {database} --match_list_path {out}/matches.txt --match_type raw",
        ]
    if form == "openmvg":
        data = f"-i {out}/sfm_data.json"
        return [
            f"next: openMVG_main_GeometricFilter {data} -m {out}/matches.putative.txt -o {out}/matches.f.txt -g f",
            f"      openMVG_main_SfM {data} -m {out} -M matches.f.txt -o {out}/model -s INCREMENTAL",
        ]
    return []
