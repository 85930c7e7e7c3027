"""`astr pairs`: which photos to match with which."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from astr_cli.cli.options import Device, Weights

if TYPE_CHECKING:
    from astr_cli.sfm.pairs.generators import Proposal

pairs = typer.Typer(
    help="Choose which photos to match with which: a list of pairs for astr match.", no_args_is_help=True
)

Photos = Annotated[Path, typer.Argument(help="Folder of the photos; folders in it are searched too.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Text file to write, two names a line.", show_default="standard output"),
]
Degree = Annotated[
    int | None,
    typer.Option(min=1, help="Leave no photo in more pairs than this; the best pairs stay.", show_default="no limit"),
]
Union = Annotated[
    list[Path] | None,
    typer.Option(help="Add all pairs of this list; may be repeated.", show_default="none"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an OUT that differs.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output; needs --out.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")]
Neighbours = Annotated[int, typer.Option(min=1, help="Pair each photo with this many others.")]


class Request(NamedTuple):
    """What all methods share."""

    photos: Path | None  # where the names are relative to; None: not known
    out: Path | None
    degree: int | None
    union: list[Path] | None
    overwrite: bool
    as_json: bool
    quiet: bool


@pairs.command("exhaustive")
def exhaustive(
    photos: Photos,
    out: Out = None,
    degree: Degree = None,
    union: Union = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Every photo with every other one: up to some 60 photos.

    Examples:

    astr pairs exhaustive photos/ --out pairs.txt

    astr pairs exhaustive photos/ | astr match - --images photos/ --out matches.h5

    Exit codes: 0 done; 2 nothing was written.
    """
    from astr_cli.sfm.pairs import generators as pair_generators

    request = Request(photos, out, degree, union, overwrite, as_json, quiet)
    return _propose(request, photos, pair_generators.exhaustive)


@pairs.command("sequential")
def sequential(
    photos: Photos,
    out: Out = None,
    overlap: Annotated[int, typer.Option(min=1, help="Pair each photo with this many following ones.")] = 10,
    quadratic: Annotated[
        bool, typer.Option("--quadratic", help="With those 1, 2, 4, 8, ... on instead of the next ones, as many.")
    ] = False,
    degree: Degree = None,
    union: Union = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Photos taken one after another, as of a video: each with the following ones, in the order of their names.

    Numbers in names count by value: img2 comes before img10.

    Examples:

    astr pairs sequential frames/ --out pairs.txt --overlap 5

    astr pairs retrieval frames/ --neighbours 3 | astr pairs sequential frames/ --union - --out pairs.txt

    Exit codes: 0 done; 2 nothing was written.
    """
    from astr_cli.sfm.pairs import generators as pair_generators

    def propose(names: list[str]) -> "Proposal":
        return pair_generators.sequential(names, overlap, quadratic)

    return _propose(Request(photos, out, degree, union, overwrite, as_json, quiet), photos, propose)


@pairs.command("spatial")
def spatial(
    photos: Photos,
    out: Out = None,
    neighbours: Neighbours = 20,
    distance: Annotated[float, typer.Option(min=0.0, help="Pair no photos further apart, in metres.")] = 100.0,
    height: Annotated[
        bool, typer.Option("--height/--no-height", help="Whether altitude counts; GPS knows it worst.")
    ] = False,
    degree: Degree = None,
    union: Union = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Photos that know where they were taken (EXIF GPS, as of drones and phones): each with the nearest ones.

    Examples:

    astr pairs spatial drone/ --out pairs.txt

    astr pairs spatial drone/ --out pairs.txt --neighbours 10 --distance 60

    Exit codes: 0 done; 2 nothing was written.
    """
    from astr_cli.sfm.pairs import generators as pair_generators

    def propose(names: list[str]) -> "Proposal":
        return pair_generators.spatial(photos, names, neighbours, distance, not height)

    return _propose(Request(photos, out, degree, union, overwrite, as_json, quiet), photos, propose)


@pairs.command("retrieval")
def retrieval(
    photos: Photos,
    out: Out = None,
    neighbours: Neighbours = 20,
    weights: Weights = "astr-small",
    device: Device = "auto",
    degree: Degree = None,
    union: Union = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Photos in no order: each with those that look most like it, by the features that astr matches with.

    Examples:

    astr pairs retrieval photos/ --out pairs.txt

    astr pairs retrieval photos/ --out pairs.txt --neighbours 30 --degree 40

    Exit codes: 0 done; 2 nothing was written.
    """
    from astr_cli.cli.sfm_output import progress_line

    def propose(names: list[str]) -> "Proposal":
        from astr_cli.sfm.pairs.retrieval import retrieval

        return retrieval(photos, names, neighbours, weights, device, progress_line(as_json or quiet))

    return _propose(Request(photos, out, degree, union, overwrite, as_json, quiet), photos, propose)


@pairs.command("covisible")
def covisible(
    model: Annotated[Path, typer.Argument(help="Folder of a COLMAP model, such as sparse/0.")],
    out: Out = None,
    neighbours: Neighbours = 20,
    min_points: Annotated[int, typer.Option(min=1, help="Pair no images that share fewer points.")] = 15,
    degree: Degree = None,
    union: Union = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Images of a model that is there already, say of SIFT: each with those that see most of its points.

    Examples:

    astr pairs covisible sparse/0 --out pairs.txt

    Exit codes: 0 done; 2 nothing was written.
    """
    from astr_cli.cli.pairs_output import check_request, finish
    from astr_cli.sfm.pairs import generators as pair_generators

    request = Request(None, out, degree, union, overwrite, as_json, quiet)
    check_request(request)
    names, proposal = pair_generators.covisible(model, neighbours, min_points)
    return finish(request, names, proposal)


def _propose(request: Request, photos: Path, propose: "Callable[[list[str]], Proposal]") -> int:
    """Finds the photos, lets the method choose, and writes what it chose."""
    from astr_cli.cli.pairs_output import check_request, find_photos, finish

    check_request(request)
    names = find_photos(photos)
    return finish(request, names, propose(names))
