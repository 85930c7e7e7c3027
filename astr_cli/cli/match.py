"""`astr match`: pairs of image names to matches."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astr_cli.cli.options import (
    Batch,
    Cameras,
    Device,
    Images,
    Jobs,
    Json,
    LongSide,
    Masks,
    MaxMatches,
    Memory,
    OneWay,
    PairsFile,
    Precision,
    Rotate,
    Scaling,
    SkipBad,
    Threshold,
    Tiles,
    Weights,
    Workers,
)

if TYPE_CHECKING:
    from astr_cli.matching.resources.compute import MatchOptions


def command(
    pairs: PairsFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="HDF5 file to write, in hloc's dense layout.")],
    images: Images = None,
    weights: Weights = "astr-small",
    long_side: LongSide = None,
    threshold: Threshold = 0.2,
    max_matches: MaxMatches = None,
    cameras: Cameras = "exif",
    device: Device = "auto",
    precision: Precision = None,
    batch: Batch = None,
    jobs: Jobs = None,
    workers: Workers = 2,
    memory: Memory = None,
    rotate: Rotate = "exif",
    masks: Masks = None,
    tiles: Tiles = False,
    scaling: Scaling = "auto",
    one_way: OneWay = False,
    skip_bad: SkipBad = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop what an earlier run matched and PAIRS does not list any more.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew: drop what an earlier run left, finished or not.")
    ] = False,
    plots: Annotated[
        Path | None,
        typer.Option(help="Draw pairs into this folder when all are matched, up to 100: red unsure, green sure."),
    ] = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors and failed pairs.")] = False,
) -> int:
    """Match the photos of a pairs file, and write points and scores to an HDF5 file.

    PAIRS names two images on each line. The run can be stopped at any time: the same command goes on where it was, and
    with a longer pairs file it matches only what is new. Pairs that are gone from it are given up with --prune only.

    Examples:

    astr match pairs.txt --out matches.h5

    astr match pairs.txt --images photos/ --out matches.h5 --long-side 1024

    astr match pairs.txt --out matches.h5 --cameras sparse/0 --json

    astr match pairs.txt --out matches.h5 --plots drawings/

    astr match pairs.txt --out matches.h5 --tiles --masks masks/ --rotate auto

    Exit codes: 0 done; 2 nothing was started; 3 done, but some pairs failed (the same command tries them again);
    4 stopped, disk or memory full, and 130 stopped by a signal (the same command goes on).
    """
    from astr_cli.matching.resources.compute import MatchOptions, parse_size

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
        precision=precision,
        batch=batch,
        jobs=jobs,
        workers=workers,
        rotate=rotate,
        masks=masks,
        tiles=tiles,
        scaling=scaling,
        one_way=one_way,
        skip_bad=skip_bad,
        prune=prune,
        overwrite=overwrite,
        memory=None if memory is None else parse_size(memory),
    )
    return _run(options, plots, as_json, quiet)


def _run(options: "MatchOptions", plots: Path | None, as_json: bool, quiet: bool) -> int:
    """Matches, draws where asked, and prints; returns the exit code."""
    from astr_cli.cli.match_output import make_report
    from astr_cli.images.drawing import DrawingFolder
    from astr_cli.matching.plots import draw_pairs
    from astr_cli.matching.run.match import match_pairs

    drawings = None if plots is None else DrawingFolder(plots)
    with make_report(as_json, quiet) as report:
        summary = match_pairs(options, report.event)
        if plots is not None and drawings is not None:
            report.drawn(plots, draw_pairs(options.out, options.root, drawings))
    report.summary(summary)
    return 3 if summary.failed else 0
