"""Refinement on the original pixels by least-squares matching: knows arrays, affine maps and pyramids, no files.

`refine_tracks`  all observations of every track, aligned to one of them
`refine_pair`  the matches of one pair, the end on the grid fixed
`plan_from_neighbours`, `plan_from_surfaces`  how the observations of a track look beside each other
`kept_by`, `summary`  what becomes of those that could not be refined, and the figures to print
"""

from astr_cli.refine.observations import Observations
from astr_cli.refine.pairs import Matches, refine_pair
from astr_cli.refine.planning import Plan, plan_from_neighbours, plan_from_surfaces
from astr_cli.refine.pyramid import Pyramid, build_pyramid
from astr_cli.refine.rules import RULES, Rule, Summary, kept_by, summary
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.surfaces import TangentViews, tangent_views
from astr_cli.refine.tracks import Refined, Step, refine_tracks

__all__ = [
    "RULES",
    "Matches",
    "Observations",
    "Plan",
    "Pyramid",
    "Refined",
    "Rule",
    "Settings",
    "Status",
    "Step",
    "Summary",
    "TangentViews",
    "build_pyramid",
    "kept_by",
    "plan_from_neighbours",
    "plan_from_surfaces",
    "refine_pair",
    "refine_tracks",
    "summary",
    "tangent_views",
]
