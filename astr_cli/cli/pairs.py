"""`astr pairs`: which photos to match with which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from astr_cli.cli.generated import add_command
from astr_cli.options.pairs import (
    CovisibleOptions,
    ModelOption,
    NeighbourOptions,
    PairListOptions,
    PhotosOption,
    RetrievalNetwork,
    SequentialOptions,
    SpatialOptions,
)

if TYPE_CHECKING:
    from astr_cli.sfm.pairs.generators import Proposal

pairs = typer.Typer(
    help="Choose which photos to match with which: a list of pairs for astr match.", no_args_is_help=True
)


def exhaustive(where: PhotosOption, output: PairListOptions) -> int:
    """Pair every photo with every other one: for up to about 60 photos.

    Examples:

    astr pairs exhaustive photos/ --out pairs.txt

    astr pairs exhaustive photos/ | astr match - --images photos/ --out matches.h5

    Exit codes: 0 done; 2 nothing was written; 130 stopped (nothing was written).
    """
    from astr_cli.sfm.pairs.generators import exhaustive as generate

    return _propose(output, where.photos, generate)


def sequential(where: PhotosOption, options: SequentialOptions, output: PairListOptions) -> int:
    """Pair photos taken one after another, such as video frames: each with the following ones, in the order of names.

    Numbers in names count by value: img2 comes before img10. Each folder is a sequence of its own.

    Examples:

    astr pairs sequential frames/ --out pairs.txt --overlap 5

    astr pairs retrieval frames/ --neighbours 3 | astr pairs sequential frames/ --union - --out pairs.txt

    Exit codes: 0 done; 2 nothing was written; 130 stopped (nothing was written).
    """
    from astr_cli.sfm.pairs.generators import sequential as generate

    return _propose(output, where.photos, lambda names: generate(names, options.overlap, options.quadratic))


def spatial(where: PhotosOption, options: SpatialOptions, output: PairListOptions) -> int:
    """Pair photos with GPS positions in their EXIF data (drones, phones): each with the nearest ones.

    Examples:

    astr pairs spatial drone/ --out pairs.txt

    astr pairs spatial drone/ --out pairs.txt --neighbours 10 --distance 60

    Exit codes: 0 done; 2 nothing was written; 130 stopped (nothing was written).
    """
    from astr_cli.sfm.pairs.generators import spatial as generate

    def propose(names: list[str]) -> Proposal:
        return generate(where.photos, names, options.neighbours, options.distance, not options.height)

    return _propose(output, where.photos, propose)


def retrieval(
    where: PhotosOption, options: NeighbourOptions, network: RetrievalNetwork, output: PairListOptions
) -> int:
    """Pair photos in no order: each with the most similar ones, by the features that astr matches with.

    Examples:

    astr pairs retrieval photos/ --out pairs.txt

    astr pairs retrieval photos/ --out pairs.txt --neighbours 30 --degree 40

    Exit codes: 0 done; 2 nothing was written; 130 stopped (nothing was written).
    """
    from astr_cli.cli.sfm_output import progress_line

    def propose(names: list[str]) -> Proposal:
        from astr_cli.sfm.pairs.retrieval import retrieval as generate

        tell = progress_line(output.as_json or output.quiet)
        return generate(where.photos, names, options.neighbours, network.weights, network.device, tell)

    return _propose(output, where.photos, propose)


def covisible(where: ModelOption, options: CovisibleOptions, output: PairListOptions) -> int:
    """Pair the images of an existing model (of SIFT, for example): each with those that see most of its points.

    Examples:

    astr pairs covisible sparse/0 --out pairs.txt

    Exit codes: 0 done; 2 nothing was written; 130 stopped (nothing was written).
    """
    from astr_cli.cli.pairs_output import check_request, finish
    from astr_cli.sfm.pairs.generators import covisible as generate

    check_request(output)
    names, proposal = generate(where.model, options.neighbours, options.min_points)
    return finish(output, None, names, proposal)


def _propose(output: PairListOptions, photos: Path, propose: Callable[[list[str]], Proposal]) -> int:
    """Finds the photos, lets the method choose, and writes the pairs."""
    from astr_cli.cli.pairs_output import check_request, find_photos, finish
    from astr_cli.cli.sfm_output import stoppable

    check_request(output)
    with stoppable("stopped; nothing was written") as stop:
        names = find_photos(photos)
        proposal = propose(names)
        stop.check()
    return finish(output, photos, names, proposal)


for _command in (exhaustive, sequential, spatial, retrieval, covisible):
    add_command(pairs, _command.__name__, _command)
