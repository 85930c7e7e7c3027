"""The options of `astr localize`."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.matching import FILES, MatchingOptions
from astr_cli.options.option import Options, group, option

LOCALIZING = "Localization"


@dataclass(eq=False, repr=False)
class LocalizeOptions(Options):
    """The options of `astr localize`."""

    queries: Path = option(help="Folder of the photos to localize.", stored=False, argument=True)
    model: Path = option(help="COLMAP model folder, such as sparse/0.", stored=False, panel=FILES)
    images: Path = option(help="Folder of the photos of the model.", stored=False, panel=FILES)
    out: Path = option(
        help="Folder for poses.txt, the model with the queries added, pairs and matches.",
        stored=False,
        short="o",
        panel=FILES,
    )
    pairs: Path | None = option(
        None,
        help="Text file with a query and a photo of the model per line.",
        stored=False,
        panel=LOCALIZING,
        default_text="the photos of the model most similar to each query",
    )
    neighbours: int = option(
        10, help="Match each query with this many photos of the model.", stored=False, panel=LOCALIZING, least=1
    )
    query_cameras: Path | None = option(
        None,
        help="COLMAP model folder, database or cameras.txt with the cameras of queries.",
        stored=False,
        panel=LOCALIZING,
        default_text="focal length from EXIF, refined; without that, estimated",
    )
    min_inliers: int = option(
        30, help="Refuse a pose that fewer matches agree with.", stored=False, panel=LOCALIZING, least=6
    )
    seed: int = option(0, help="Seed of the random samples.", stored=False, panel=LOCALIZING, least=0)
    matching: MatchingOptions = group(MatchingOptions)
