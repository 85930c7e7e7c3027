"""How photos are matched: the options that match, plan, reconstruct, eval, bench and the Python API share."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from astr_cli.options.option import OptionError, Options, option

Precision = Literal["fp32", "bf16"]
Rotate = Literal["exif", "auto", "none"]
Scaling = Literal["auto", "off"]
Focus = Literal["auto", "off"]

SMALLEST_TILE = 128  # pixels

EVERY_GPU = "cuda:all"  # as the device of astr match

FILES, MATCHING, MACHINE = "Files", "Matching", "Machine"


def parse_size(text: str) -> int:
    """Bytes from a number with an optional K, M, G or T (powers of 1024): `2G`, `500M`; raises OptionError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", str(text).strip(), re.IGNORECASE)
    if found is None:
        raise OptionError(f"--memory {text}: give bytes, or a size such as 500M or 2G")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def parse_shard(text: str) -> tuple[int, int]:
    """Number and count from `2/8`; raises OptionError."""
    found = re.fullmatch(r"0*(\d{1,6})/0*(\d{1,6})", text.strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise OptionError(f"--shard {text}: give a number and a count, from 1/8 to 8/8 for eight shards")
    return int(found[1]), int(found[2])


def is_weights_file(text: str) -> bool:
    """Whether `--weights` is a path instead of a shipped name."""
    return text.endswith(".safetensors") or "/" in text or "\\" in text


def is_cameras_path(text: str) -> bool:
    """Whether `--cameras` is a path of known cameras."""
    return text not in ("exif", "none", "true")


@dataclass(kw_only=True, eq=False, repr=False)
class MatchingOptions(Options):
    """How a pair of photos is matched, and the resources for it."""

    weights: str = option(
        "astr-small",
        help="Name of shipped weights, or a safetensors file.",
        stored=True,
        panel=MATCHING,
        is_path=is_weights_file,
    )
    long_side: int | None = option(
        None,
        help="Shrink photos to this many pixels for matching. Doubling it gives more matches but takes four times as "
        "long.",
        stored=True,
        panel=MATCHING,
        least=64,
        unit="pixels",
        default_text="832 on a GPU, 640 on a CPU",
    )
    threshold: float = option(
        0.2,
        help="Drop matches with a score below this (0 to 1). Lower values give more matches, and more wrong ones.",
        stored=True,
        panel=MATCHING,
    )
    max_matches: int | None = option(
        None,
        help="Keep the N best coarse matches per pair (two output rows each; one with --one-way).",
        stored=True,
        panel=MATCHING,
        least=1,
        default_text="all",
    )
    one_way: bool = option(
        False,
        help="Refine points in the second photo only: faster, and half as many rows.",
        stored=True,
        panel=MATCHING,
    )
    scaling: Scaling = option(
        "auto",
        help="Adaptive scaling. auto: the windows of the fine stage grow with the scale ratio of a match; off: all "
        "windows have the same size.",
        stored=True,
        panel=MATCHING,
    )
    adaptive: bool = option(
        False,
        help="End a pair early, without matches, if its photos seem not to overlap, and spare easy pairs part of the "
        "search. Pairs without overlap take less than half of the time, easy pairs five sixths; now and then a hard "
        "pair is lost.",
        stored=True,
        panel=MATCHING,
    )
    focus: Focus = option(
        "auto",
        help="auto: where two photos share only a small part, or show it at unlike sizes, match this part again, "
        "enlarged; off: match whole photos once, which is faster by a tenth, and by a quarter where photos share "
        "nothing.",
        stored=True,
        panel=MATCHING,
        before="off",
    )
    cameras: str = option(
        "exif",
        help="Source of focal lengths for adaptive scaling: exif, none, or a COLMAP model folder, database or "
        "cameras.txt.",
        stored=True,
        panel=MATCHING,
        is_path=is_cameras_path,
        files_only=True,
    )
    precision: Precision | None = option(
        None,
        help="Arithmetic precision of the network.",
        stored=True,
        panel=MACHINE,
        default_text="bf16 on a GPU, fp32 on a CPU",
    )
    rotate: Rotate = option(
        "exif",
        help="Rotation of photos before matching. exif: upright, by their EXIF orientation; auto: also rotate the "
        "second photo to match the first (decided on small copies); none: as stored. Coordinates always refer to the "
        "stored pixels.",
        stored=True,
        panel=MATCHING,
        files_only=True,
    )
    masks: Path | None = option(
        None,
        help="Folder of COLMAP-style mask images (NAME.png for the photo NAME). Black areas are ignored.",
        stored=True,
        panel=MATCHING,
        files_only=True,
    )
    tiles: bool = option(
        False,
        help="Match again at full size, in tiles of --long-side pixels, where the shrunk photos match. Finds more "
        "matches on large photos, but is many times slower.",
        stored=True,
        panel=MATCHING,
        files_only=True,
    )
    refine_matches: bool = option(
        False,
        help="Align the matches of every pair on the original pixels and store how certain each is (sigma). For use "
        "of the matches themselves; colmap-import refines its tracks in any case.",
        stored=True,
        panel=MATCHING,
    )
    device: str = option(
        "auto",
        help="Device to compute on: auto, cpu, cuda or cuda:N; for astr match also cuda:all, a process per GPU.",
        stored=False,
        panel=MACHINE,
    )
    batch: int | None = option(
        None,
        help="Pairs per batch.",
        stored=False,
        panel=MACHINE,
        least=1,
        default_text="8 on a GPU, 1 on a CPU",
        files_only=True,
    )
    jobs: int | None = option(
        None,
        help="Batches to process in parallel.",
        stored=False,
        panel=MACHINE,
        least=1,
        default_text="2 on a GPU; the number of cores, up to 4, on a CPU",
        files_only=True,
    )
    workers: int = option(2, help="Threads that decode photos.", stored=False, panel=MACHINE, least=1, files_only=True)
    memory: int | None = option(
        None,
        help="Memory for the features of photos, such as 500M or 2G; also the most that decoding one photo may take.",
        stored=False,
        panel=MACHINE,
        default_text="a quarter of the free RAM up to 2G, or 80% of the free GPU memory",
        parse=parse_size,
        files_only=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tiles and self.long_side is not None and self.long_side < SMALLEST_TILE:
            raise OptionError(f"--tiles with --long-side {self.long_side}: give at least {SMALLEST_TILE} pixels")
        if not 0.0 <= self.threshold <= 1.0:
            raise OptionError(f"--threshold {self.threshold:g}: give a score from 0 to 1")
        if self.memory is not None and self.memory < 0:
            raise OptionError(f"--memory {self.memory}: give bytes, or a size such as 500M or 2G")


@dataclass(kw_only=True, eq=False, repr=False)
class PairsOptions(MatchingOptions):
    """The pairs to match: those of a pairs file."""

    pairs: Path = option(
        help="Text file with two image names per line; - is standard input.", stored=False, argument=True
    )
    images: Path | None = option(
        None,
        help="Folder that the image names are relative to.",
        stored=False,  # stored separately, relative to the output
        panel=FILES,
        default_text="the folder of PAIRS",
    )
    skip_bad: bool = option(
        False, help="Continue without photos that are missing or cannot be read.", stored=False, panel=FILES
    )

    @property
    def root(self) -> Path:
        """The image root: as given, or the folder of the pairs file, or for standard input the current folder."""
        return self.pairs.parent if self.images is None else self.images


@dataclass(kw_only=True, eq=False, repr=False)
class MatchOptions(PairsOptions):
    """The options of `astr match`, without its output."""

    out: Path = option(help="HDF5 file to write, in hloc's dense layout.", stored=False, short="o", panel=FILES)
    prune: bool = option(
        False,
        help="Delete matched pairs that PAIRS no longer lists. Without it, astr refuses to run.",
        stored=False,
        panel=FILES,
    )
    overwrite: bool = option(
        False, help="Start over: discard the results of earlier runs, finished or not.", stored=False, panel=FILES
    )
    shard: str | None = option(
        None,
        help="Match only this part of the pairs, such as 2/8: the second of eight. astr merge joins the files.",
        stored=False,
        panel=FILES,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shard is not None:
            parse_shard(self.shard)
