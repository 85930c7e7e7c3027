"""The refinement of keypoints on the original pixels."""

from dataclasses import dataclass
from typing import Literal

from astr_cli.options.option import Options, option

Refine = Literal["off", "tracks"]
Rule = Literal["mixed", "keep", "drop"]

REFINEMENT = "Refinement"
WORTH = 1.2  # photos larger than the matched size by this factor gain from refinement (docs/refinement.md)


@dataclass(frozen=True, eq=False, repr=False)
class RefineOptions(Options):
    """Refinement of tracks by least-squares matching."""

    refine: Refine | None = option(
        None,
        help="Refinement of keypoints. tracks: align the keypoints of every track on the original pixels, which takes "
        "about a tenth of the time of matching; off: keep the precision of the matched size.",
        stored=True,
        panel=REFINEMENT,
        default_text="tracks if photos are at least 1.2 times their matched size, else off",
    )
    refine_rule: Rule = option(
        "mixed",
        help="Treatment of keypoints that cannot be refined. mixed: drop them if the track keeps three refined ones; "
        "keep: leave them unchanged; drop: always drop them.",
        stored=True,
        panel=REFINEMENT,
    )
