"""The pairs that `reconstruct` matches: all pairs of a few photos; for many photos, the pairs that can overlap."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.files import write_whole
from astr_cli.options.option import stored_texts
from astr_cli.options.pairs import METHODS, PairChoice
from astr_cli.pairs.connectivity import connectivity
from astr_cli.pairs.reading import read_pairs
from astr_cli.pairs.writing import pairs_text
from astr_cli.sfm.pairs.generators import NoPlacesError, Proposal, exhaustive, natural_order, sequential, spatial
from astr_cli.sfm.pairs.retrieval import retrieval
from astr_cli.sfm.pairs.video import looks_like_video

MOST_PHOTOS = 60  # 1,770 pairs; beyond that, all pairs would take too long
HEAD = "# astr reconstruct: "


class Chosen(NamedTuple):
    """The pairs, in the order of the photos' names, and how they were found."""

    method: str
    pairs: list[tuple[str, str]]
    warnings: tuple[str, ...] = ()


class Source(NamedTuple):
    """Photos to choose pairs of."""

    folder: Path
    names: Sequence[str]
    weights: str
    device: str


def choose_pairs(source: Source, choice: PairChoice, tell: Callable[[str], None] = lambda line: None) -> Chosen:
    """The pairs by the method of `choice`: one of METHODS, or the path of a file of pairs.

    auto: all pairs of up to 60 photos; for more, the nearest by GPS if all photos have a position and these pairs
    connect them, else the most similar ones; `tell` gets a line with the choice.

    Raises AstrError: an unknown method, no pairs by it, photos that it cannot use.
    """
    names, method = natural_order(source.names), choice.pairs
    if method == "auto":
        chosen = _automatic(source, names, choice, tell)
    elif method in METHODS:
        chosen = Chosen(method, *_propose(source, names, choice, method, tell))
    elif Path(method).is_file():
        chosen = Chosen("file", [(pair.name0, pair.name1) for pair in read_pairs(Path(method)).pairs])
    else:
        raise AstrError(f"--pairs {method}: choose one of {', '.join(METHODS)}, or a file with two names per line")
    if not chosen.pairs:
        raise AstrError(f"{source.folder}: --pairs {method} finds no pairs; choose another method")
    place = {name: number for number, name in enumerate(names)}
    first = len(names)  # the file may name missing photos; matching reports them
    return chosen._replace(pairs=sorted(chosen.pairs, key=lambda pair: sorted(place.get(name, first) for name in pair)))


def _propose(
    source: Source, names: Sequence[str], choice: PairChoice, method: str, tell: Callable[[str], None]
) -> Proposal:
    if method == "exhaustive":
        return exhaustive(names)
    if method == "sequential":
        return sequential(names, choice.sequential.overlap, choice.sequential.quadratic)
    if method == "spatial":
        near = choice.spatial
        return spatial(source.folder, names, near.neighbours, near.distance, ignore_height=not near.height)
    return retrieval(source.folder, names, choice.spatial.neighbours, source.weights, source.device, tell)


def _automatic(source: Source, names: Sequence[str], choice: PairChoice, tell: Callable[[str], None]) -> Chosen:
    count = len(names) * (len(names) - 1) // 2
    if len(names) <= MOST_PHOTOS:
        if looks_like_video(names):
            fewer = len(_propose(source, names, choice, "sequential", tell).pairs)
            tell(
                f"{len(names)} photos make {count:,} pairs; their names look like frames of a video, for which "
                f"--pairs sequential matches {fewer:,} pairs only"
            )
        return Chosen("exhaustive", *_propose(source, names, choice, "exhaustive", tell))
    try:
        near = _propose(source, names, choice, "spatial", tell)
        whole = not near.warnings and len(connectivity(names, near.pairs).components) == 1
    except NoPlacesError:
        whole = False
    what = f"{len(names)} photos make {count} pairs; astr pairs each photo with the {choice.spatial.neighbours}"
    if whole:
        tell(f"{what} nearest ones by GPS")
        return Chosen("spatial", *near)
    tell(f"{what} most similar ones")
    return Chosen("retrieval", *_propose(source, names, choice, "retrieval", tell))


def write_choice(path: Path, source: Source, choice: PairChoice, tell: Callable[[str], None]) -> Chosen:
    """Chooses pairs and writes them to `path`, or reuses those that the same call wrote before; warns of photos
    without a pair.

    Raises AstrError as `choose_pairs` does, or when `path` cannot be written.
    """
    made_of = (sorted(source.names), source.weights, *stored_texts(choice, {}))
    key = hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]
    kept = _earlier(path, key) if choice.pairs in METHODS else None
    if kept is not None:
        return _with_gaps(kept, source.names)
    chosen = choose_pairs(source, choice, tell)
    if choice.pairs not in METHODS and path.exists() and path.samefile(choice.pairs):
        return _with_gaps(chosen, source.names)  # the user's own file lies there
    head = f"{HEAD}{chosen.method} pairs of {len(source.names)} photos, {key}\n"
    try:
        write_whole(path, head + pairs_text(chosen.pairs))
    except OSError as error:
        raise AstrError(f"{path}: cannot be written ({error.strerror}); choose another --out") from None
    return _with_gaps(chosen, source.names)


def _with_gaps(chosen: Chosen, names: Sequence[str]) -> Chosen:
    """Adds warnings of photos in no pair, and of groups that no pair joins."""
    known = set(names)
    graph = connectivity(names, [pair for pair in chosen.pairs if known.issuperset(pair)])
    warnings = list(chosen.warnings)
    if graph.alone:
        warnings.append(
            f"{len(graph.alone)} of {len(names)} photos are in no pair (for example {graph.alone[0]}) and will have no "
            "pose"
        )
    if graph.apart is not None:
        warnings.append(graph.apart)
    return chosen._replace(warnings=tuple(warnings))


def _earlier(path: Path, key: str) -> Chosen | None:
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.readline()
    if not (head.startswith(HEAD) and head.endswith(f", {key}\n")):
        return None
    return Chosen(head.removeprefix(HEAD).split()[0], [(pair.name0, pair.name1) for pair in read_pairs(path).pairs])
