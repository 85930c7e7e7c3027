"""Figures by which settings of refinement are chosen, on rendered courtyards with exact truth:
    python -m tests.refine.choose_settings half=7 max_sigma=0.2
prints, for photos of some times the matched size, the share of observations that is accepted and their errors in
photo pixels, with the default settings and with those named on the command line.
"""

from __future__ import annotations

import sys
from dataclasses import fields, replace

import numpy as np

from astr_cli.refine.settings import Settings

from .courts import Court, Outcome, observe, outcome, yard

FACTORS = (2.4, 6.0)
SEEDS = (0, 1, 2)
TRACKS = 3000


def parsed(words: list[str]) -> Settings:
    """Settings from words like half=7."""
    kinds = {field.name: type(getattr(Settings(), field.name)) for field in fields(Settings)}
    values = (word.split("=", 1) for word in words)
    return replace(Settings(), **{name: kinds[name](float(value)) for name, value in values})


def line(found: list[Outcome]) -> str:
    """Of some courtyards together."""
    accepted = np.concatenate([part.accepted for part in found])
    before, after = (np.concatenate([getattr(part, name) for part in found]) for name in ("before", "after"))
    sigma = np.concatenate([part.refined.sigma[part.rows] for part in found])[accepted]
    good = after[accepted]
    median, most, nearly = np.percentile(good, (50, 95, 99))
    return (
        f"accepted {accepted.mean():6.1%}: median {median:.4f}, 95% {most:.3f}, 99% {nearly:.3f}, over 1 px "
        f"{np.mean(good > 1):.2%}, error / sigma {np.median(good / sigma):.2f}; all: median {np.median(before):.3f} "
        f"before, {np.median(after):.3f} after"
    )


def show(scenes: list[Court], settings: Settings) -> None:
    """One line per factor."""
    for factor in FACTORS:
        found = [outcome(scene, observe(scene, factor, TRACKS, seed)[0], settings) for seed, scene in enumerate(scenes)]
        print(f"  {factor:.1f}  {line(found)}", flush=True)


if __name__ == "__main__":
    courtyards = [yard(seed, views=5, size=(960, 720)) for seed in SEEDS]
    for words in ([], sys.argv[1:]) if sys.argv[1:] else ([],):
        print(" ".join(words) or "defaults", flush=True)
        show(courtyards, parsed(words))
