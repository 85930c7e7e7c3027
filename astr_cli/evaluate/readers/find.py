"""Finds every benchmark in a folder, in any layout."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from astr_cli.evaluate.benchmark import Benchmark, EvaluateError
from astr_cli.evaluate.readers.gt_json import read_gt_json
from astr_cli.evaluate.readers.hpatches import is_sequence, read_sequence, read_sequences
from astr_cli.evaluate.readers.megadepth import read_megadepth
from astr_cli.evaluate.readers.scannet import read_scannet

# Each returns the benchmark of a folder, or None. The first that recognises a folder takes it with its subfolders.
Reader = Callable[[Path, str], Benchmark[Any] | None]
READERS: tuple[Reader, ...] = (read_gt_json, read_sequence, read_scannet, read_megadepth)


def find_benchmarks(top: Path) -> list[Benchmark[Any]]:
    """The benchmarks in a folder and below, with names: their path below it, or its own name.

    Photos without ground truth are ignored. Raises EvaluateError: no folder, no benchmark in it, or one that cannot be
    read.
    """
    if not top.is_dir():
        raise EvaluateError(f"{top}: {'is not a folder' if top.exists() else 'no such folder'}")
    found = sorted(_walk(top, top, set()), key=lambda benchmark: benchmark.name)
    if not found:
        raise EvaluateError(
            f"{top}: contains no ground truth; astr reads gt.json, HPatches sequences (H_1_2), and the index "
            "files of MegaDepth and ScanNet (.npz)"
        )
    return found


def _walk(folder: Path, top: Path, seen: set[Path]) -> Iterator[Benchmark[Any]]:
    real = folder.resolve()
    if real in seen:  # links may lead in circles
        return
    seen.add(real)
    for reader in READERS:
        benchmark = reader(folder, _name(folder, top))
        if benchmark is not None:
            yield benchmark
            return
    children = _folders(folder)
    sequences = [child for child in children if is_sequence(child)]
    if sequences:
        yield read_sequences(folder, sequences, _name(folder if len(sequences) > 1 else sequences[0], top))
    for child in children:
        if child not in sequences:
            yield from _walk(child, top, seen)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise EvaluateError(f"{folder}: cannot be listed ({error.strerror})") from None


def _name(folder: Path, top: Path) -> str:
    return top.resolve().name if folder == top else folder.relative_to(top).as_posix()
