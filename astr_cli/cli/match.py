"""`astr match`: pairs of image names to matches."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    pairs: Annotated[Path, typer.Argument(help="Text file with two image names a line; - is standard input.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="HDF5 file to write, in hloc's dense layout.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that the image names are relative to.", show_default="the folder of PAIRS"),
    ] = None,
    weights: Annotated[str, typer.Option(help="Name of shipped weights, or a safetensors file.")] = "astr-small",
    long_side: Annotated[
        int | None,
        typer.Option(
            help="Shrink photos to this many pixels; larger ones give more matches, and four times the work for twice.",
            show_default="832 on a GPU, 640 on a CPU",
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Drop matches below this confidence, 0 to 1; lower gives more and worse ones.")
    ] = 0.2,
    max_matches: Annotated[
        int | None, typer.Option(help="Keep this many of a pair's best coarse matches.", show_default="all")
    ] = None,
    cameras: Annotated[
        str,
        typer.Option(
            help="Focal lengths, for adaptive scaling: exif, none, or a COLMAP model folder, database or cameras.txt."
        ),
    ] = "exif",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        str | None, typer.Option(help="fp32 or bf16.", show_default="bf16 on a GPU, fp32 on a CPU")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs at once.", show_default="8 on a GPU, 1 on a CPU")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Batches in work at the same time.", show_default="2 on a GPU; cores, at most 4, on a CPU"),
    ] = None,
    workers: Annotated[int, typer.Option(help="Threads that decode photos.")] = 2,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Room for the features of photos, such as 500M or 2G.",
            show_default="a quarter of free RAM up to 2G, or 80% of free GPU memory",
        ),
    ] = None,
    rotate: Annotated[
        str,
        typer.Option(
            help="exif: make photos upright by EXIF; auto: then turn the second photo of each pair to stand as the "
            "first, found out on small copies; none."
        ),
    ] = "exif",
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder of COLMAP masks: NAME.png for the photo NAME; black is not matched."),
    ] = None,
    tiles: Annotated[
        bool,
        typer.Option("--tiles", help="Match again at full size in tiles of --long-side, where the small photos match."),
    ] = False,
    scaling: Annotated[
        str,
        typer.Option(help="auto: windows of the fine stage grow with the scale ratio of a match; off: they do not."),
    ] = "auto",
    one_way: Annotated[
        bool, typer.Option("--one-way", help="Refine points of the second photo only: faster, half the rows.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Go on without images that are missing or cannot be read.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew: drop what an earlier run left, finished or not.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors and failed pairs.")] = False,
) -> int:
    """Match the photos of a pairs file, and write points and scores to an HDF5 file.

    PAIRS names two images on each line. The run can be stopped at any time: the same command goes on where it was, and
    with a longer pairs file it matches only what is new.

    Examples:

    astr match pairs.txt --out matches.h5

    astr match pairs.txt --images photos/ --out matches.h5 --long-side 1024

    astr match pairs.txt --out matches.h5 --cameras sparse/0 --json

    astr match pairs.txt --out matches.h5 --tiles --masks masks/ --rotate auto

    Exit codes: 0 done; 2 nothing was started; 3 done, but some pairs failed (the same command tries them again);
    4 stopped, disk or memory full, and 130 stopped by a signal (the same command goes on).
    """
    from astr_cli.cli.match_output import make_report
    from astr_cli.matching import MatchOptions, match_pairs, parse_precision, parse_rotate, parse_scaling, parse_size

    options = MatchOptions(
        pairs=pairs,
        out=out,
        images=images,
        weights=weights,
        long_side=long_side,
        threshold=threshold,
        max_matches=max_matches,
        cameras=cameras,
        device=device,
        precision=parse_precision(precision),
        batch=batch,
        jobs=jobs,
        workers=workers,
        rotate=parse_rotate(rotate),
        masks=masks,
        tiles=tiles,
        scaling=parse_scaling(scaling),
        one_way=one_way,
        skip_bad=skip_bad,
        overwrite=overwrite,
        memory=None if memory is None else parse_size(memory),
    )
    with make_report(as_json, quiet) as report:
        summary = match_pairs(options, report.event)
    report.summary(summary)
    return 3 if summary.failed else 0
