"""The output of `astr pairs`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from astr_cli.cli import console
from astr_cli.errors import AstrError
from astr_cli.files import check_output_file
from astr_cli.images.catalogue import find_images
from astr_cli.pairs.connectivity import Connectivity, connectivity
from astr_cli.pairs.reading import read_pairs
from astr_cli.pairs.selecting import limit_degree, unite
from astr_cli.pairs.writing import pairs_text, write_pairs
from astr_cli.sfm.pairs.generators import natural_order
from astr_cli.wording import listed

if TYPE_CHECKING:
    from pathlib import Path

    from astr_cli.options.pairs import PairListOptions
    from astr_cli.sfm.pairs.generators import Proposal

LISTED = 5  # names that are written out


def check_request(request: PairListOptions) -> None:
    """Raises AstrError for options that contradict each other, before any work."""
    if request.as_json and request.out is None:
        raise AstrError("--json and the pairs would both go to standard output; give --out as well")
    if request.out is None:
        return
    check_output_file(request.out)
    if not request.out.parent.is_dir():
        raise AstrError(f"{request.out}: the folder {request.out.parent} does not exist; create it first")


def find_photos(folder: Path) -> list[str]:
    """The photos of the folder in natural order. Raises AstrError: fewer than two."""
    names = natural_order(find_images(folder))
    if len(names) < 2:
        raise AstrError(f"{folder}: contains only one photo, but a pair needs two; add more photos")
    return names


def finish(request: PairListOptions, photos: Path | None, names: list[str], proposal: Proposal) -> int:
    """Limits the pairs, adds those of --union, writes them, and reports how they connect the photos.

    photos: the folder that names are relative to; None: unknown.
    """
    chosen = proposal.pairs if request.degree is None else limit_degree(proposal.pairs, request.degree)
    lists = [_read_union(path, names, photos) for path in request.union]
    place = {name: number for number, name in enumerate(names)}
    united = sorted(unite(chosen, *lists), key=lambda pair: sorted((place[pair[0]], place[pair[1]])))
    if not united:
        raise AstrError("no pairs found; use more --neighbours or a larger --distance")
    if request.out is None:
        sys.stdout.write(pairs_text(united))
    else:
        write_pairs(request.out, united, request.overwrite)
    graph = connectivity(names, united)
    for warning in [*proposal.warnings, *graph_warnings(graph)]:
        console.warn(warning)
    if request.as_json:
        console.json_line({"event": "pairs", "out": str(request.out), **graph_record(graph)})
    elif not request.quiet:
        for line in [*graph_lines(graph), *_next_lines(request.out, photos)]:
            print(line, file=sys.stderr if request.out is None else sys.stdout)
    return 0


def graph_lines(graph: Connectivity) -> Iterator[str]:
    """How the pairs connect the photos."""
    fewest, median, most = graph.degrees
    yield f"{graph.images:,} photos, {graph.pairs:,} pairs; {fewest} to {most} pairs per photo, median {median}"
    if graph.articulation and len(graph.components) == 1:
        yield f"without one of these photos, the others are no longer connected: {listed(graph.articulation, LISTED)}"


def graph_warnings(graph: Connectivity) -> Iterator[str]:
    """The reasons why the photos cannot become one model."""
    if graph.alone:
        yield f"photos in no pair: {listed(graph.alone, LISTED)}"
    if graph.apart is not None:
        yield graph.apart


def graph_record(graph: Connectivity) -> dict[str, object]:
    """The figures for JSON."""
    return {
        "images": graph.images,
        "pairs": graph.pairs,
        "degrees": graph.degrees,
        "components": [len(part) for part in graph.components],
        "alone": graph.alone,
        "articulation": graph.articulation,
    }


def _read_union(path: Path, names: Sequence[str], photos: Path | None) -> list[tuple[str, str]]:
    known = set(names)
    found = []
    for pair in read_pairs(path).pairs:
        for name in (pair.name0, pair.name1):
            if name not in known:
                where = "the model" if photos is None else str(photos)
                raise AstrError(f"{path}:{pair.line}: {name} is not in {where}; delete the line")
        found.append((pair.name0, pair.name1))
    return found


def _next_lines(out: Path | None, photos: Path | None) -> Iterator[str]:
    if out is not None:
        root = "PHOTOS" if photos is None else shlex.quote(str(photos))
        yield f"next: astr match {shlex.quote(str(out))} --images {root} --out matches.h5"
