"""The ASTR model (CVPR 2023): one frozen config, two presets, and the stages from grey images to matches."""

from astr_cli.model.astr import Astr, MatchSettings, RawMatches
from astr_cli.model.backbone import Features
from astr_cli.model.checkpoint import LoadedWeights, WeightsError, load_weights, save_weights
from astr_cli.model.config import PRESETS, AstrConfig

__all__ = [
    "PRESETS",
    "Astr",
    "AstrConfig",
    "Features",
    "LoadedWeights",
    "MatchSettings",
    "RawMatches",
    "WeightsError",
    "load_weights",
    "save_weights",
]
