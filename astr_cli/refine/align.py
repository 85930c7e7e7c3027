"""Least-squares matching by numba's loops on some threads, or by plain NumPy where numba is missing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from astr_cli.refine import plain
from astr_cli.refine.observations import Floats
from astr_cli.refine.plain import Alignment, Task
from astr_cli.refine.settings import Settings, Status

PIECE = 512  # patches of one piece of work


def align(task: Task, settings: Settings, threads: int = 1) -> Alignment:
    """Moves every patch of the task to where the image looks like its template; the same for any number of threads."""
    loops = compiled_loops()
    return plain.align(task, settings) if loops is None else align_compiled(loops, task, settings, threads)


@cache
def compiled_loops() -> Callable[..., Any] | None:
    """`kernels.align`; None where numba does not work, and plain NumPy serves some twenty times slower."""
    try:
        from astr_cli.refine import kernels

        kernels.align(0, 0, *_arguments(_nothing(), Settings()))
    except Exception:  # numba fails in its own many ways: no wheel, no LLVM for this CPU, a full disk
        return None
    loops: Callable[..., Any] = kernels.align
    return loops


def align_compiled(loops: Callable[..., Any], task: Task, settings: Settings, threads: int) -> Alignment:
    """`align` by compiled loops."""
    arguments, count = _arguments(task, settings), len(task.xy)
    pieces = [(begin, min(begin + PIECE, count)) for begin in range(0, count, PIECE)]
    if threads == 1 or len(pieces) == 1:
        loops(0, count, *arguments)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda piece: loops(*piece, *arguments), pieces))
    found, quality, status = arguments[-3:]
    maps = found[:, 2:].reshape(-1, 2, 2)
    xy = np.where((status == Status.REFINED)[:, None], found[:, :2] + _apply(maps, task.point), task.xy)
    return Alignment(xy, maps, quality[:, 0], quality[:, 1], status)


def _arguments(task: Task, settings: Settings) -> tuple[Any, ...]:
    """What the loops take: contiguous float64, the patches as middle and map."""
    weights = plain.window(settings).ravel()
    middle = task.xy - _apply(task.maps, task.point)
    patches = np.concatenate([middle, task.maps.reshape(-1, 4)], axis=1)
    limits = (settings.rounds, settings.longest_step, settings.stop, settings.reach, settings.flat**2 * weights.sum())
    inputs = (np.ascontiguousarray(task.image), np.ascontiguousarray(task.grey), np.ascontiguousarray(task.point))
    outputs = (patches.copy(), np.full((len(patches), 2), np.nan), np.zeros(len(patches), np.uint8))
    return (*inputs, patches, weights, np.array(limits, np.float64), settings.unknowns + 2, *outputs)


def _apply(maps: Floats, points: Floats) -> Floats:
    return (maps @ points[..., None])[..., 0]


def _nothing() -> Task:
    side = 2 * Settings().half + 3
    image, grey = np.zeros((side, side), np.float32), np.zeros((0, side, side), np.uint16)
    return Task(image, grey, np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2, 2)))
