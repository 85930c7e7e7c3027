"""Which photos are matched with which."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.matching import is_weights_file
from astr_cli.options.option import check, group, option

METHODS = ("auto", "exhaustive", "sequential", "spatial", "retrieval")
CHOICE = "Choice of pairs"


@dataclass(frozen=True)
class SequentialOptions:
    """Photos taken one after another."""

    overlap: int = option(
        10, help="Sequential: pair each photo with this many following ones.", stored=True, panel=CHOICE, least=1
    )
    quadratic: bool = option(
        False,
        help="Sequential: pair with the photos 1, 2, 4, 8, ... further on instead of the next ones.",
        stored=True,
        panel=CHOICE,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class NeighbourOptions:
    """How many others a photo is paired with."""

    neighbours: int = option(
        20,
        help="Spatial and retrieval: pair each photo with this many others.",
        stored=True,
        panel=CHOICE,
        least=1,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SpatialOptions(NeighbourOptions):
    """Photos with GPS positions."""

    distance: float = option(
        100.0,
        help="Spatial: pair no photos further apart than this, in metres.",
        stored=True,
        panel=CHOICE,
        least=0,
        unit="metres",
    )
    height: bool = option(
        False,
        help="Spatial: whether altitude counts; it is the least precise part of GPS.",
        stored=True,
        panel=CHOICE,
        switch=True,
    )


@dataclass(frozen=True)
class PairChoice:
    """How `astr reconstruct` chooses pairs."""

    pairs: str = option(
        "auto",
        help="auto (every pair of up to 60 photos; of more, the nearest by GPS or the most similar), exhaustive, "
        "sequential, spatial, retrieval, or a file with two names per line.",
        stored=True,
        panel=CHOICE,
        is_path=lambda text: text not in METHODS,
    )
    sequential: SequentialOptions = group(SequentialOptions)
    spatial: SpatialOptions = group(SpatialOptions)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class PhotosOption:
    """Where the photos are."""

    photos: Path = option(help="Folder of the photos; its subfolders are searched too.", stored=False, argument=True)


@dataclass(frozen=True)
class PairListOptions:
    """What all methods of `astr pairs` share."""

    out: Path | None = option(
        None,
        help="Text file to write, two names per line.",
        stored=False,
        short="o",
        default_text="standard output",
    )
    degree: int | None = option(
        None,
        help="Put no photo in more pairs than this; the best pairs stay.",
        stored=False,
        least=1,
        default_text="no limit",
    )
    union: tuple[Path, ...] = option(
        (), help="Add all pairs of this list. May be repeated.", stored=False, default_text="none"
    )
    overwrite: bool = option(False, help="Replace an OUT with other pairs.", stored=False)
    as_json: bool = option(
        False, name="json", help="Print one JSON object on standard output; needs --out.", stored=False
    )
    quiet: bool = option(False, help="Print only warnings and errors.", stored=False, short="q")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class CovisibleOptions(NeighbourOptions):
    """Images that see the same points of a model."""

    min_points: int = option(15, help="Pair no images that share fewer points.", stored=False, least=1)


@dataclass(frozen=True)
class RetrievalNetwork:
    """What finds similar photos."""

    weights: str = option(
        "astr-small",
        help="Name of shipped weights, or a safetensors file.",
        stored=False,
        is_path=is_weights_file,
    )
    device: str = option("auto", help="auto, cpu, cuda or cuda:N.", stored=False)


@dataclass(frozen=True)
class ModelOption:
    """Which model."""

    model: Path = option(help="Folder of a COLMAP model, such as sparse/0.", stored=False, argument=True)
