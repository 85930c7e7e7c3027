"""Whether and how keypoints are refined on the original pixels."""

from dataclasses import dataclass
from typing import Any, Literal

from astr_cli.options.option import check, option

RefineTracks = Literal["off", "tracks"]
Refine = Literal["off", "tracks", "model"]
Rule = Literal["mixed", "keep", "drop"]

REFINEMENT = "Refinement"
WORTH = 1.2  # photos larger than the matched size by this factor gain from refinement (docs/refinement.md)


TRACKS = (
    "tracks: align the keypoints of every track on the original pixels (about a tenth of the time of matching); "
    "off: keep the precision of the matched size"
)
MODEL = "model: do that, and after mapping align them again by the surfaces of the model, triangulate and adjust"
SHARED: dict[str, Any] = {
    "stored": True,
    "panel": REFINEMENT,
    "default_text": "tracks if photos are at least 1.2 times their matched size, else off",
}


@dataclass(frozen=True)
class RefineOptions:
    """Refinement by least-squares matching, of tracks and by a model."""

    refine: Refine | None = option(
        None,
        help=f"{TRACKS}; {MODEL}.",
        without_value="--refine takes off, tracks or model now; give --refine model to refine the model after mapping",
        **SHARED,
    )
    refine_rule: Rule = option(
        "mixed",
        help="What happens to a keypoint that cannot be refined. mixed: it is dropped if its track keeps three good "
        "ones; keep: it stays where it is; drop: it is dropped.",
        stored=True,
        panel=REFINEMENT,
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def of_tracks(self) -> "TrackRefineOptions":
        """What of this is done before mapping."""
        return TrackRefineOptions("tracks" if self.refine == "model" else self.refine, self.refine_rule)


@dataclass(frozen=True)
class TrackRefineOptions(RefineOptions):
    """Refinement of tracks."""

    refine: RefineTracks | None = option(None, help=f"{TRACKS}.", **SHARED)
