"""The options of `astr eval`."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.matching import MATCHING, MatchingOptions, is_cameras_path, is_weights_file
from astr_cli.options.option import OptionError, Options, group, option

LONG_SIDE = 640  # pixels; the size for the figures in the documentation


@dataclass(kw_only=True, eq=False, repr=False)
class EvalMatching(MatchingOptions):
    """How the photos of a benchmark are matched: at the same size on every device, with the true cameras."""

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
        help="Source of focal lengths for the matcher: true (the true ones, if known), exif, none, or a path as for "
        "astr match.",
        stored=True,
        panel=MATCHING,
        is_path=is_cameras_path,
    )


@dataclass(eq=False, repr=False)
class EvalOptions(Options):
    """The options of `astr eval`."""

    folder: Path = option(help="Folder of one benchmark, or of any number of them.", stored=False, argument=True)
    matches: Path | None = option(
        None,
        help="File of matches to evaluate, written by astr match.",
        stored=False,
        default_text="match the photos now",
    )
    against: str | None = option(
        None,
        help="Also print the difference to this result on the same pairs: weights, a matches.h5, or a .jsonl file with "
        "the output of an earlier --json.",
        stored=False,
        is_path=lambda text: is_weights_file(text) or text.endswith((".h5", ".jsonl")),
    )
    max_sigma: float | None = option(
        None,
        help="With --matches of astr match --refine-matches: evaluate only the matches that were refined to this "
        "standard deviation.",
        stored=False,
        least=0,
        unit="pixels",
        default_text="all",
    )
    ransac_px: float = option(
        0.5, help="Inlier threshold of relative poses, in pixels of the matched size.", stored=False
    )
    sift: bool = option(False, help="Also measure OpenCV's SIFT on the same resized photos.", stored=False)
    max_pairs: int | None = option(
        None,
        help="Limit each benchmark to this many evenly spaced pairs, for a quick test.",
        stored=False,
        least=1,
        default_text="all",
    )
    plots: Path | None = option(
        None,
        help="Draw each pair's matches into this folder, coloured by error; its index.html shows all drawings.",
        stored=False,
    )
    matching: EvalMatching = group(EvalMatching)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_sigma is not None and self.matches is None:
            raise OptionError("--max-sigma: only for --matches; make them with astr match --refine-matches")
