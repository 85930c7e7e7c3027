"""What a reader of a report has to know first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from astr_cli.report.pair_list import Pair
from astr_cli.report.sources import Sources
from astr_cli.sfm.mapping.pair_agreement import DOUBTFUL
from astr_cli.wording import counted, listed

NAMED = 5  # in one line
WEAK_POINTS = 50  # a photo that sees fewer points may lie in a wrong place


def warning_lines(
    sources: Sources,
    said: Sequence[str],
    photos: Sequence[Mapping[str, Any]],
    pairs: Sequence[Pair],
    missing: Sequence[tuple[str, str]],
) -> list[str]:
    """One sentence each, the worst first. said: the warnings of astr reconstruct on its model, if it made one.
    missing: name and problem of every photo that could not be shown.
    """
    return [
        *_on_the_model(sources, said, photos),
        *_on_pairs(pairs),
        *_on_files(sources, missing),
    ]


def _on_the_model(sources: Sources, said: Sequence[str], photos: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    left = [photo["name"] for photo in photos if not photo["posed"]]
    if sources.model is not None and left:
        yield f"{len(left)} of {counted(len(photos), 'photo')} not registered: {listed(left, NAMED)}"
    yield from said
    weak = [photo["name"] for photo in photos if photo["posed"] and photo["points"] < WEAK_POINTS]
    if weak:
        yield f"{counted(len(weak), 'photo')} with fewer than {WEAK_POINTS} points: {listed(weak, NAMED)}"


def _on_pairs(pairs: Sequence[Pair]) -> Iterator[str]:
    doubtful = [pair for pair in pairs if pair.agreeing is not None and pair.agreeing < DOUBTFUL]
    if doubtful:
        names = listed([f"{pair.name0} and {pair.name1}" for pair in doubtful], NAMED)
        yield (
            f"{counted(len(doubtful), 'pair')} well matched but in contradiction to the model, which is typical of "
            f"repeated structure: {names}"
        )
    failed = sum(pair.inliers == 0 for pair in pairs)
    if failed:
        yield f"{failed} of {counted(len(pairs), 'pair')} did not pass verification"


def _on_files(sources: Sources, missing: Sequence[tuple[str, str]]) -> Iterator[str]:
    if missing:
        names = listed([f"{name} ({problem})" for name, problem in missing], NAMED)
        yield f"{counted(len(missing), 'photo')} not shown: {names}"
    if sources.summary is not None:
        yield from sources.summary["skipped"]
        yield from sources.summary["database"]["warnings"]
        failed = sources.summary["matching"]["failed"]
        if failed:
            yield f"{counted(len(failed), 'pair')} not matched; the same command tries them again"
