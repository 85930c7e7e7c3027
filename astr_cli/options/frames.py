"""The options of `astr frames`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from astr_cli.options.option import OptionError, Options, option

Pick = Literal["sharpest", "first"]


@dataclass(eq=False, repr=False)
class FramesOptions(Options):
    """The options of `astr frames`."""

    video: Path = option(help="Video file of any format that OpenCV reads.", stored=False, argument=True)
    out: Path = option(help="Folder for the frames: new, empty or of an earlier run.", stored=False, short="o")
    fps: float | None = option(None, help="Frames per second to keep.", stored=False, default_text="2")
    count: int | None = option(
        None, help="Frames to keep, evenly over the video.", stored=False, least=2, default_text="by --fps"
    )
    pick: Pick = option(
        "sharpest", help="Of each part of the video, keep the sharpest frame or the first one.", stored=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fps is not None and self.count is not None:
            raise OptionError("--fps and --count: give one of them")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise OptionError(f"--fps {self.fps:g}: give more than 0 and at most 1000")
