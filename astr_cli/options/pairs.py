"""The choice of pairs."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.matching import is_weights_file
from astr_cli.options.option import Options, group, option

METHODS = ("auto", "exhaustive", "sequential", "spatial", "retrieval")
CHOICE = "Choice of pairs"


@dataclass(eq=False, repr=False)
class SequentialOptions(Options):
    """Photos taken one after another."""

    overlap: int = option(
        10,
        help="Sequential: pair each photo with this many of the photos that follow it.",
        stored=True,
        panel=CHOICE,
        least=1,
    )
    quadratic: bool = option(
        False,
        help="Sequential: pair each photo with those 1, 2, 4, 8, ... positions later instead of the next ones.",
        stored=True,
        panel=CHOICE,
    )


@dataclass(eq=False, repr=False)
class NeighbourOptions(Options):
    """The number of photos that each photo is paired with."""

    neighbours: int = option(
        20,
        help="Spatial, retrieval and covisible: pair each photo with this many others.",
        stored=True,
        panel=CHOICE,
        least=1,
    )


@dataclass(eq=False, repr=False)
class SpatialOptions(NeighbourOptions):
    """Photos with GPS positions."""

    distance: float = option(
        100.0,
        help="Spatial: do not pair photos further apart than this, in metres.",
        stored=True,
        panel=CHOICE,
        least=0,
        unit="metres",
    )
    height: bool = option(
        False,
        help="Spatial: include altitude in distances. It is the least precise part of GPS.",
        stored=True,
        panel=CHOICE,
        switch=True,
    )


@dataclass(eq=False, repr=False)
class PairChoice(Options):
    """How `astr reconstruct` chooses pairs."""

    pairs: str = option(
        "auto",
        help="Method: auto (every pair of up to 60 photos; for more photos, the nearest by GPS or the most similar), "
        "exhaustive, sequential, spatial, retrieval, or a file with two names per line.",
        stored=True,
        panel=CHOICE,
        is_path=lambda text: text not in METHODS,
    )
    sequential: SequentialOptions = group(SequentialOptions)
    spatial: SpatialOptions = group(SpatialOptions)


@dataclass(eq=False, repr=False)
class PhotosOption(Options):
    """The folder of the photos."""

    photos: Path = option(help="Folder of the photos; its subfolders are searched too.", stored=False, argument=True)


@dataclass(eq=False, repr=False)
class PairListOptions(Options):
    """The options that all methods of `astr pairs` share."""

    out: Path | None = option(
        None,
        help="Text file to write, two names per line.",
        stored=False,
        short="o",
        default_text="standard output",
    )
    degree: int | None = option(
        None,
        help="Limit the pairs per photo to this number; the best pairs stay.",
        stored=False,
        least=1,
        default_text="no limit",
    )
    union: tuple[Path, ...] = option(
        (), help="File with pairs to add. May be repeated.", stored=False, default_text="none"
    )
    overwrite: bool = option(False, help="Replace OUT if it exists and contains other pairs.", stored=False)
    as_json: bool = option(False, name="json", help="Print the summary as one JSON object; needs --out.", stored=False)
    quiet: bool = option(False, help="Print only warnings and errors.", stored=False, short="q")


@dataclass(eq=False, repr=False)
class CovisibleOptions(NeighbourOptions):
    """Images that see the same points of a model."""

    min_points: int = option(15, help="Do not pair images that share fewer points than this.", stored=False, least=1)


@dataclass(eq=False, repr=False)
class RetrievalNetwork(Options):
    """The network that finds similar photos."""

    weights: str = option(
        "astr-small",
        help="Name of shipped weights, or a safetensors file.",
        stored=False,
        is_path=is_weights_file,
    )
    device: str = option("auto", help="Device to compute on: auto, cpu, cuda or cuda:N.", stored=False)


@dataclass(eq=False, repr=False)
class ModelOption(Options):
    """The folder of a model."""

    model: Path = option(help="Folder of a COLMAP model, such as sparse/0.", stored=False, argument=True)
