"""Options that several commands share, each with one help text; a command gives the default."""

from pathlib import Path
from typing import Annotated, Literal

import typer

PairsFile = Annotated[Path, typer.Argument(help="Text file with two image names a line; - is standard input.")]
Images = Annotated[
    Path | None,
    typer.Option(help="Folder that the image names are relative to.", show_default="the folder of PAIRS"),
]
Weights = Annotated[str, typer.Option(help="Name of shipped weights, or a safetensors file.")]
LongSide = Annotated[
    int | None,
    typer.Option(
        help="Shrink photos to this many pixels for matching; larger ones give more matches, and four times the work "
        "for twice.",
        show_default="832 on a GPU, 640 on a CPU",
    ),
]
Threshold = Annotated[
    float, typer.Option(help="Drop matches below this confidence, 0 to 1; lower gives more and worse ones.")
]
MaxMatches = Annotated[
    int | None,
    typer.Option(
        help="Keep this many of a pair's best coarse matches; each gives two rows, with --one-way one.",
        show_default="all",
    ),
]
Cameras = Annotated[
    str,
    typer.Option(
        help="Focal lengths, for adaptive scaling: exif, none, or a COLMAP model folder, database or cameras.txt."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[
    Literal["fp32", "bf16"] | None,
    typer.Option(help="Of the network's products.", show_default="bf16 on a GPU, fp32 on a CPU"),
]
Batch = Annotated[int | None, typer.Option(help="Pairs at once.", show_default="8 on a GPU, 1 on a CPU")]
Jobs = Annotated[
    int | None,
    typer.Option(help="Batches in work at the same time.", show_default="2 on a GPU; cores, at most 4, on a CPU"),
]
Workers = Annotated[int, typer.Option(help="Threads that decode photos.")]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Room for the features of photos, such as 500M or 2G.",
        show_default="a quarter of free RAM up to 2G, or 80% of free GPU memory",
    ),
]
Rotate = Annotated[
    Literal["exif", "auto", "none"],
    typer.Option(
        help="exif: make photos upright by EXIF; auto: then turn the second photo of each pair to stand as the "
        "first, found out on small copies; none."
    ),
]
Masks = Annotated[
    Path | None, typer.Option(help="Folder of COLMAP masks: NAME.png for the photo NAME; black is not matched.")
]
Tiles = Annotated[
    bool,
    typer.Option("--tiles", help="Match again at full size in tiles of --long-side, where the small photos match."),
]
Scaling = Annotated[
    Literal["auto", "off"],
    typer.Option(help="auto: windows of the fine stage grow with the scale ratio of a match; off: they do not."),
]
OneWay = Annotated[
    bool, typer.Option("--one-way", help="Refine points of the second photo only: faster, half the rows.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without images that are missing or cannot be read.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on standard output.")]
CameraMode = Annotated[
    str,
    typer.Option(
        help="Who shares a camera: auto (photos of one camera, or of one size and focal length, by EXIF), single, "
        "per-folder or per-image."
    ),
]
