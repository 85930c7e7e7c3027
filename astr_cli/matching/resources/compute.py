"""The options of a matching run, and their defaults per device."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch

from astr_cli.errors import AstrError
from astr_cli.matching.resources.cores import split_cores
from astr_cli.matching.tiles.geometry import SMALLEST_TILE
from astr_cli.model.astr import MatchSettings

Precision = Literal["fp32", "bf16"]
Rotate = Literal["exif", "auto", "none"]
Scaling = Literal["auto", "off"]


class OptionError(AstrError):
    """An option that is invalid or not available on this machine."""


@dataclass(frozen=True)
class MatchOptions:
    """The options of `astr match`; None stands for a default that depends on the device or on other options.

    Options that change a result are recorded in matches.h5 and in the journal: weights, long_side, threshold,
    max_matches, one_way, scaling, cameras, precision, rotate, masks, tiles. Options that do not (beyond 1e-3 px) are
    not: device, batch, jobs, workers, memory.
    """

    pairs: Path
    """The pairs file; `-` is standard input."""
    out: Path
    """The HDF5 file to write."""
    images: Path | None = None
    """The folder that image names are relative to; None: the folder of the pairs file."""
    weights: str = "astr-small"
    """The name of shipped weights, or a safetensors file."""
    long_side: int | None = None
    """Photos are shrunk to this many pixels; None: 832 on a GPU, 640 on a CPU."""
    threshold: float = 0.2
    """Drop matches with a lower score."""
    max_matches: int | None = None
    """Keep the N best coarse matches per pair; None: all."""
    cameras: str = "exif"
    """`exif`, `none`, or the path of a COLMAP model folder, database or cameras.txt."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Precision | None = None
    """None: bf16 on a GPU, fp32 on a CPU."""
    batch: int | None = None
    """Pairs per batch; None: 8 on a GPU, 1 on a CPU."""
    jobs: int | None = None
    """Batches to process in parallel; None: 2 on a GPU; on a CPU one per core, at most 4."""
    workers: int = 2
    """Threads that decode photos."""
    rotate: Rotate = "exif"
    """`exif`: rotate photos upright by their EXIF orientation; `auto`: then also rotate the second photo of each pair
    to match the first; `none`: use the pixels as stored. Points always refer to the stored pixels."""
    masks: Path | None = None
    """Folder of COLMAP-style masks; astr ignores the areas where a mask is zero."""
    tiles: bool = False
    """Match pairs again at full size, in tiles of `long_side` (at least 128), guided by the matches at small size."""
    scaling: Scaling = "auto"
    """`auto`: windows of the fine stage grow with the scale ratio, from the cameras where both are known, else from the
    matches around; `off`: they do not."""
    one_way: bool = False
    """Refine only the points of image1: half the fine stage, half the rows."""
    skip_bad: bool = False
    """Skip images that are missing or cannot be read, instead of refusing to start."""
    overwrite: bool = False
    """Start over, and replace the results of an earlier run."""
    prune: bool = False
    """Drop the stored pairs that the pairs file no longer lists, instead of refusing to start."""
    memory: int | None = None
    """Bytes for the feature cache; None: a quarter of free RAM up to 2 GiB, or 80% of free device memory."""

    def __post_init__(self) -> None:
        if self.long_side is not None and self.long_side < 64:
            raise OptionError(f"--long-side {self.long_side}: give at least 64 pixels")
        if self.tiles and self.long_side is not None and self.long_side < SMALLEST_TILE:
            raise OptionError(f"--tiles with --long-side {self.long_side}: give at least {SMALLEST_TILE} pixels")
        if not 0.0 <= self.threshold <= 1.0:
            raise OptionError(f"--threshold {self.threshold:g}: give a score between 0 and 1")
        counts = ("max-matches", "batch", "jobs", "workers")
        for name in counts:
            value = getattr(self, name.replace("-", "_"))
            if value is not None and value < 1:
                raise OptionError(f"--{name} {value}: give at least 1")
        if self.memory is not None and self.memory < 0:
            raise OptionError(f"--memory {self.memory}: give bytes, or a size such as 500M or 2G")
        for name, kind in (("precision", Precision), ("rotate", Rotate), ("scaling", Scaling)):
            value = getattr(self, name)
            if value not in get_args(kind) and (name, value) != ("precision", None):
                raise OptionError(f"--{name} {value}: choose {', '.join(get_args(kind)[:-1])} or {get_args(kind)[-1]}")

    @property
    def root(self) -> Path:
        """The image root: as given, else the folder of the pairs file, else (standard input) the current folder."""
        return self.pairs.parent if self.images is None else self.images

    def settings(self) -> MatchSettings:
        """The options that the model needs."""
        return MatchSettings(self.threshold, self.max_matches, self.one_way, self.scaling)


class Compute(NamedTuple):
    """Where and how a run computes: every default filled in."""

    device: torch.device
    precision: Precision
    long_side: int
    batch: int
    jobs: int
    """Batches to process in parallel."""
    threads: int
    """torch's threads for each batch."""


def resolve_compute(options: MatchOptions) -> Compute:
    """Fills in the defaults that depend on the device; raises OptionError for a device that this machine lacks."""
    device = find_device(options.device)
    gpu = device.type == "cuda"
    split = split_cores(device)
    return Compute(
        device,
        options.precision or default_precision(device),
        options.long_side or (832 if gpu else 640),
        # Turned pairs are matched one by one, as their sizes are not known before.
        1 if options.rotate == "auto" else options.batch or (8 if gpu else 1),
        options.jobs or split.jobs,
        split.threads,
    )


def find_device(name: str) -> torch.device:
    """The device of that name (`auto`: a GPU where there is one); raises OptionError when there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise OptionError(f"--device {name}: choose auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda":
        _check_cuda(device)
    return device


def default_precision(device: torch.device) -> Precision:
    """bf16 where a GPU computes it, fp32 elsewhere."""
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def parse_size(text: str) -> int:
    """Bytes from a number with an optional K, M, G or T (powers of 1024): `2G`, `500M`; raises OptionError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise OptionError(f"--memory {text}: give bytes, or a size such as 500M or 2G")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def _check_cuda(device: torch.device) -> None:
    if torch.version.cuda is None:
        raise OptionError(
            f"--device {device}: this PyTorch ({torch.__version__}) is built without CUDA; "
            "install a CUDA build, or leave --device out to run on the CPU"
        )
    if not torch.cuda.is_available():
        raise OptionError(f"--device {device}: no NVIDIA GPU was found; leave --device out to run on the CPU")
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise OptionError(f"--device {device}: no such GPU; choose cuda:0 to cuda:{torch.cuda.device_count() - 1}")
