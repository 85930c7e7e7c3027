"""The options of `astr eval`."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.matching import MATCHING, MatchingOptions, is_cameras_path, is_weights_file
from astr_cli.options.option import check, group, option

LONG_SIDE = 640  # pixels; what the figures of the documentation were measured at


@dataclass(frozen=True, kw_only=True)
class EvalMatching(MatchingOptions):
    """How the photos of a benchmark are matched: at one size on every device, with the true cameras."""

    long_side: int | None = option(
        None,
        help="Shrink photos to this many pixels for matching.",
        stored=True,
        panel=MATCHING,
        least=64,
        unit="pixels",
        default_text="640, or that of --matches",
    )
    cameras: str = option(
        "true",
        help="Focal lengths that the matcher is given: true (if known), none, exif, or a path.",
        stored=True,
        panel=MATCHING,
        is_path=is_cameras_path,
    )


@dataclass(frozen=True)
class EvalOptions:
    """What is measured."""

    folder: Path = option(help="Folder of one benchmark, or of any number of them.", stored=False, argument=True)
    matches: Path | None = option(
        None, help="Evaluate this matches.h5.", stored=False, default_text="match the photos now"
    )
    against: str | None = option(
        None,
        help="Also print the difference to this result on the same pairs: weights, a matches.h5, or a .jsonl file of "
        "an earlier --json.",
        stored=False,
        is_path=lambda text: is_weights_file(text) or text.endswith((".h5", ".jsonl")),
    )
    ransac_px: float = option(
        0.5, help="Inlier threshold of relative poses, in pixels of the matched size.", stored=False
    )
    sift: bool = option(False, help="Add OpenCV's SIFT on the same resized photos.", stored=False)
    max_pairs: int | None = option(
        None,
        help="Take this many evenly spaced pairs of each benchmark, for a quick look.",
        stored=False,
        least=1,
        default_text="all",
    )
    plots: Path | None = option(
        None, help="Draw each pair's matches into this folder, coloured by error.", stored=False
    )
    matching: EvalMatching = group(EvalMatching)

    def __post_init__(self) -> None:
        check(self)
