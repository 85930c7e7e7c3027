"""The options of `astr explain`."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.matching import FILES, MATCHING, Scaling, is_weights_file
from astr_cli.options.option import OptionError, Options, option


@dataclass(eq=False, repr=False)
class ExplainOptions(Options):
    """The options of `astr explain`."""

    photo0: Path = option(help="The first photo.", stored=False, argument=True)
    photo1: Path = option(help="The second photo.", stored=False, argument=True)
    out: Path = option(help="Folder for the pictures and index.html.", stored=False, short="o", panel=FILES)
    at: tuple[str, ...] = option(
        (),
        help="Point of the first photo to explain, as x,y in pixels of the stored photo. May be repeated.",
        stored=False,
        default_text="four points with contrast",
    )
    weights: str = option(
        "astr-small",
        help="Name of shipped weights, or a safetensors file.",
        stored=False,
        panel=MATCHING,
        is_path=is_weights_file,
    )
    long_side: int | None = option(
        None,
        help="Shrink photos to this many pixels for matching.",
        stored=False,
        panel=MATCHING,
        least=64,
        unit="pixels",
        default_text="832 on a GPU, 640 on a CPU",
    )
    threshold: float = option(0.2, help="Drop matches with a score below this (0 to 1).", stored=False, panel=MATCHING)
    scaling: Scaling = option(
        "auto", help="Adaptive scaling, auto or off, as of astr match.", stored=False, panel=MATCHING
    )
    masks: Path | None = option(
        None,
        help="Folder of COLMAP-style mask images (NAME.png for the photo NAME). Black areas are ignored.",
        stored=False,
        panel=MATCHING,
    )
    device: str = option("auto", help="Device to compute on: auto, cpu, cuda or cuda:N.", stored=False)

    @property
    def points(self) -> list[tuple[float, float]]:
        """The points of `at`. Raises OptionError: not x,y."""
        found = []
        for text in self.at:
            x, _, y = text.partition(",")
            try:
                found.append((float(x), float(y)))
            except ValueError:
                raise OptionError(f"--at {text}: give x,y in pixels, for example --at 640,480") from None
        return found
