"""The refinement of keypoints on the original pixels."""

from dataclasses import dataclass
from typing import Any, Literal

from astr_cli.options.option import Options, option

RefineTracks = Literal["off", "tracks"]
Refine = Literal["off", "tracks", "model"]
Rule = Literal["mixed", "keep", "drop"]

REFINEMENT = "Refinement"
WORTH = 1.2  # photos larger than the matched size by this factor gain from refinement (docs/refinement.md)

TRACKS = (
    "Refinement of keypoints. tracks: align the keypoints of every track on the original pixels, which takes about a "
    "tenth of the time of matching; off: keep the precision of the matched size"
)
MODEL = (
    "model: as tracks, and align them again after mapping by the surfaces of the model, re-triangulate and run bundle "
    "adjustment again"
)
SHARED: dict[str, Any] = {
    "stored": True,
    "panel": REFINEMENT,
    "default_text": "tracks if photos are at least 1.2 times their matched size, else off",
}


@dataclass(eq=False, repr=False)
class RefineOptions(Options):
    """Refinement by least-squares matching, of tracks and by a model."""

    refine: Refine | None = option(
        None,
        help=f"{TRACKS}; {MODEL}.",
        without_value="--refine takes off, tracks or model now; give --refine model to refine the model after mapping",
        **SHARED,
    )
    refine_rule: Rule = option(
        "mixed",
        help="Treatment of keypoints that cannot be refined. mixed: drop them if the track keeps three refined ones; "
        "keep: leave them unchanged; drop: always drop them.",
        stored=True,
        panel=REFINEMENT,
    )

    @property
    def of_tracks(self) -> "TrackRefineOptions":
        """The part that is done before mapping."""
        return TrackRefineOptions("tracks" if self.refine == "model" else self.refine, self.refine_rule)


@dataclass(eq=False, repr=False)
class TrackRefineOptions(RefineOptions):
    """Refinement of tracks."""

    refine: RefineTracks | None = option(None, help=f"{TRACKS}.", **SHARED)
