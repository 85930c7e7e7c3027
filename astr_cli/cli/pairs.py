"""`astr pairs`: chooses the pairs of photos to match."""

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
    help="Choose the pairs of photos to match, and write them as a list for astr match.", no_args_is_help=True
)


def exhaustive(where: PhotosOption, output: PairListOptions) -> int:
    """Pair every photo with every other one. Suitable for up to about 60 photos.

    Examples:

    astr pairs exhaustive photos/ --out pairs.txt

    astr pairs exhaustive photos/ | astr match - --images photos/ --out matches.h5

    Exit codes: 0 = done; 2 = nothing was written; 130 = stopped (nothing was written).
    """
    from astr_cli.sfm.pairs.generators import exhaustive as generate

    return _propose(output, where.photos, generate)


def sequential(where: PhotosOption, options: SequentialOptions, output: PairListOptions) -> int:
    """Pair each photo with the ones that follow it by name. For photos taken one after another, such as video frames.

    Numbers in names are sorted by value: img2 comes before img10. Each folder is a sequence of its own.

    Examples:

    astr pairs sequential frames/ --out pairs.txt --overlap 5

    astr pairs retrieval frames/ --neighbours 3 | astr pairs sequential frames/ --union - --out pairs.txt

    Exit codes: 0 = done; 2 = nothing was written; 130 = stopped (nothing was written).
    """
    from astr_cli.sfm.pairs.generators import sequential as generate

    return _propose(output, where.photos, lambda names: generate(names, options.overlap, options.quadratic))


def spatial(where: PhotosOption, options: SpatialOptions, output: PairListOptions) -> int:
    """Pair each photo with the nearest ones by the GPS positions in their EXIF data (drones, phones).

    Examples:

    astr pairs spatial drone/ --out pairs.txt

    astr pairs spatial drone/ --out pairs.txt --neighbours 10 --distance 60

    Exit codes: 0 = done; 2 = nothing was written; 130 = stopped (nothing was written).
    """
    from astr_cli.sfm.pairs.generators import spatial as generate

    def propose(names: list[str]) -> Proposal:
        return generate(where.photos, names, options.neighbours, options.distance, not options.height)

    return _propose(output, where.photos, propose)


def retrieval(
    where: PhotosOption, options: NeighbourOptions, network: RetrievalNetwork, output: PairListOptions
) -> int:
    """Pair each photo with the most similar ones, for photos in no order. Similarity comes from astr's own features.

    Examples:

    astr pairs retrieval photos/ --out pairs.txt

    astr pairs retrieval photos/ --out pairs.txt --neighbours 30 --degree 40

    Exit codes: 0 = done; 2 = nothing was written; 130 = stopped (nothing was written).
    """
    from astr_cli.cli.sfm_output import progress_line

    def propose(names: list[str]) -> Proposal:
        from astr_cli.sfm.pairs.retrieval import retrieval as generate

        tell = progress_line(output.as_json or output.quiet)
        return generate(where.photos, names, options.neighbours, network.weights, network.device, tell)

    return _propose(output, where.photos, propose)


def covisible(where: ModelOption, options: CovisibleOptions, output: PairListOptions) -> int:
    """Pair the images of an existing COLMAP model (from SIFT, for example): each with the ones that share most points.

    Examples:

    astr pairs covisible sparse/0 --out pairs.txt

    Exit codes: 0 = done; 2 = nothing was written; 130 = stopped (nothing was written).
    """
    from astr_cli.cli.pairs_output import check_request, finish
    from astr_cli.cli.sfm_output import stoppable
    from astr_cli.sfm.pairs.generators import covisible as generate

    check_request(output)
    with stoppable("stopped; nothing was written") as stop:
        names, proposal = generate(where.model, options.neighbours, options.min_points)
        stop.check()
    return finish(output, None, names, proposal)


def _propose(output: PairListOptions, photos: Path, propose: Callable[[list[str]], Proposal]) -> int:
    """Finds the photos, chooses the pairs with the method, and writes them."""
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
