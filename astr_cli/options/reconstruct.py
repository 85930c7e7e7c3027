"""The options of `astr reconstruct`: those of all its steps."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.database import CameraOptions, TrackOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.options.matching import FILES, MatchingOptions
from astr_cli.options.option import Options, group, option
from astr_cli.options.pairs import PairChoice
from astr_cli.options.refinement import RefineOptions


@dataclass(eq=False, repr=False)
class ReconstructOptions(Options):
    """The options of `astr reconstruct`."""

    photos: Path = option(help="Folder of the photos; its subfolders are searched too.", stored=False, argument=True)
    out: Path = option(
        help="Folder for pairs, matches, database and models. It may be the folder above the photos.",
        stored=False,
        short="o",
        panel=FILES,
    )
    plots: Path | None = option(
        None,
        help="After verification, draw up to 100 pairs into this folder; verified matches are green, others red.",
        stored=False,
        panel=FILES,
    )
    report: bool = option(
        True,
        help="Write OUT/report.html at the end, a page that shows the model and its photos (needs plotly).",
        stored=False,
        switch=True,
        panel=FILES,
    )
    skip_bad: bool = option(False, help="Continue without photos that cannot be read.", stored=False, panel=FILES)
    overwrite: bool = option(
        False, help="Start over: discard the matches of earlier runs in OUT.", stored=False, panel=FILES
    )
    matching: MatchingOptions = group(MatchingOptions)
    choice: PairChoice = group(PairChoice)
    cameras: CameraOptions = group(CameraOptions)
    tracks: TrackOptions = group(TrackOptions)
    refinement: RefineOptions = group(RefineOptions)
    mapping: MapOptions = group(MapOptions)

    @property
    def sparse(self) -> Path:
        """The folder of the models 0, 1, ...: OUT/sparse, where other programs look, or OUT if it is called sparse."""
        return self.out if self.out.resolve().name == "sparse" else self.out / "sparse"
