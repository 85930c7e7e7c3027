"""How COLMAP maps a database."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from astr_cli.options.option import OptionError, Options, option

Mapper = Literal["incremental", "global", "hierarchical"]
Gps = Literal["align", "prior", "none"]
Intrinsics = Literal["auto", "refine", "fixed"]
Repeats = Literal["off", "tell", "drop"]

MAPPING = "Mapping"


@dataclass(eq=False, repr=False)
class MapOptions(Options):
    """Mapper, intrinsics and seed."""

    mapper: Mapper = option(
        "incremental",
        help="Method of mapping. incremental: one photo after the other; global: all photos together, faster for "
        "hundreds of photos; hierarchical: groups of photos incrementally, then merged, for thousands.",
        stored=True,
        panel=MAPPING,
    )
    intrinsics: Intrinsics = option(
        "auto",
        help="Treatment of known cameras. auto: hold those from --cameras or --camera-params, and the focal length "
        "from EXIF where the photos cannot determine it or would change it by more than 10%; refine: adjust all; "
        "fixed: hold all that are known. Cameras without a known focal length are always adjusted.",
        stored=True,
        panel=MAPPING,
    )
    gps: Gps = option(
        "align",
        help="Use of GPS positions from EXIF. align: scale and rotate the finished model to them; prior: also adjust "
        "the cameras with them, weighted by their precision, against bent models of long flights; none: ignore them.",
        stored=True,
        panel=MAPPING,
    )
    gps_accuracy: float | None = option(
        None,
        help="Standard deviation of the GPS positions with --gps prior.",
        stored=True,
        panel=MAPPING,
        least=0.001,
        unit="metres",
        default_text="by EXIF or XMP of each photo, else 5 m and 10 m vertically",
    )
    gcp: Path | None = option(
        None,
        help="File of ground control points in OpenDroneMap's format: coordinate system, then x y z pixel_x pixel_y "
        "photo name. The model comes in that system, adjusted to the points.",
        stored=True,
        panel=MAPPING,
    )
    gcp_check: str | None = option(
        None,
        help="Points of --gcp that only check the model, by name, separated by commas.",
        stored=True,
        panel=MAPPING,
        default_text="every third by name, while three others are left",
    )
    repeats: Repeats = option(
        "off",
        help="Pairs that repeated structure misled. drop: name them and map without them, and without such matches "
        "of other pairs; tell: name them; off: do not look for them.",
        stored=True,
        panel=MAPPING,
    )
    seed: int = option(0, help="Seed of the mapper's random choices.", stored=True, panel=MAPPING, least=0)
    mapper_option: tuple[str, ...] = option(
        (),
        help="Option of pycolmap's mapper as NAME=VALUE, such as min_model_size=5 or "
        "mapper.filter_max_reproj_error=2. May be repeated.",
        stored=True,
        panel=MAPPING,
        default_text="none",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gcp_check is not None and self.gcp is None:
            raise OptionError("--gcp-check names points of a file; give it with --gcp")
        for text in self.mapper_option:
            if not (text.partition("=")[0] and text.partition("=")[2]):
                raise OptionError(f"--mapper-option {text}: give NAME=VALUE, such as min_model_size=5")
