"""The options of `astr bench`."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.database import CameraOptions, TrackOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.options.matching import MatchingOptions
from astr_cli.options.option import OptionError, Options, group, option
from astr_cli.options.pairs import PairChoice
from astr_cli.options.refinement import RefineOptions

LISTS = ("realistic", "random")


@dataclass(eq=False, repr=False)
class OperatorOptions(Options):
    """The options of `astr bench operator`."""

    grid: tuple[str, ...] = option(
        (),
        help="Size of the grid of 1/8 cells, as HEIGHTxWIDTH. May be repeated.",
        stored=False,
        default_text="60x80, 104x104, 144x144",
    )
    batch: tuple[int, ...] = option((), help="Pairs per call. May be repeated.", stored=False, default_text="1 and 8")
    lists: tuple[str, ...] = option(
        (),
        help="Type of key lists: realistic (10% wrong centres) or random. May be repeated.",
        stored=False,
        default_text="both",
    )
    heads: int = option(8, help="Number of heads of 32 channels: 8 in astr, 4 in astr-small.", stored=False, least=1)
    device: str = option("auto", help="Device to compute on: auto, cpu, cuda or cuda:N.", stored=False)
    dtype: str | None = option(
        None,
        help="Arithmetic of attention: float32, float16 or bfloat16.",
        stored=False,
        default_text="float32 on a CPU, float16 on a GPU",
    )
    limit: float = option(
        20.0, help="Leave out implementations that need more seconds per call than this.", stored=False
    )
    skip: tuple[str, ...] = option(
        (),
        help="Leave out implementations whose name contains this text. May be repeated.",
        stored=False,
        default_text="none",
    )

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """(height, width) in cells. Raises OptionError for any other text."""
        return tuple(_grid(text) for text in self.grid or ("60x80", "104x104", "144x144"))

    @property
    def batches(self) -> tuple[int, ...]:
        """Pairs per call."""
        return self.batch or (1, 8)

    @property
    def key_lists(self) -> tuple[str, ...]:
        """Types of key lists."""
        return self.lists or LISTS

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.grid:
            _grid(text)
        for size in self.batch:
            if size < 1:
                raise OptionError(f"--batch {size}: give at least 1")


def _grid(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise OptionError(f"--grid {text}: give HEIGHTxWIDTH in cells, such as 60x80")
    return int(height), int(width)


@dataclass(eq=False, repr=False)
class PipelineOptions(Options):
    """The options of `astr bench pipeline`."""

    folder: Path = option(help="Folder of photos; its subfolders are searched too.", stored=False, argument=True)
    max_images: int | None = option(
        None, help="Take only the first N photos by name.", stored=False, least=2, default_text="all"
    )
    nearest: int | None = option(
        None,
        help="Take only pairs of photos at most N positions apart by name.",
        stored=False,
        least=1,
        default_text="all pairs",
    )
    pairs: Path | None = option(
        None,
        help="Take the pairs of this file, one `name0 name1` per line.",
        stored=False,
        default_text="all pairs",
    )
    sample: int = option(
        8,
        help="Pairs to measure for the loop and for SIFT; the time of all pairs is extrapolated.",
        stored=False,
        least=1,
    )
    adaptive_sample: int | None = option(
        None,
        help="Measure only this: N of the pairs with --adaptive and without it, side by side, by number of matches.",
        stored=False,
        least=1,
        default_text="measure the whole pipeline",
    )
    matching: MatchingOptions = group(MatchingOptions)


@dataclass(eq=False, repr=False)
class SfmOptions(Options):
    """The options of `astr bench sfm`."""

    folders: tuple[Path, ...] = option(
        help="Scenes: photos in images/ or in the folder itself, and true cameras in gt.json if known.",
        stored=False,
        argument=True,
    )
    work: Path = option(
        Path("runs/sfm"),
        help="Folder for matches, databases and models. Results of an earlier run in it are reused.",
        stored=False,
    )
    sift_side: int = option(
        1000, help="Shrink photos to this many pixels for SIFT.", stored=True, least=64, unit="pixels"
    )
    matching: MatchingOptions = group(MatchingOptions)
    choice: PairChoice = group(PairChoice)
    cameras: CameraOptions = group(CameraOptions)
    tracks: TrackOptions = group(TrackOptions)
    refinement: RefineOptions = group(RefineOptions)
    mapping: MapOptions = group(MapOptions)
