"""Ranges of work on torch's number of threads."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch


class LoopRange(NamedTuple):
    """kernel(first, last, *arguments) for all of 0..size, `block` at a time; it should release Python's lock."""

    size: int
    block: int
    kernel: Callable[..., object]
    arguments: tuple[object, ...]


def workers() -> AbstractContextManager[Executor | None]:
    """Threads for `over`, as many as torch uses; None where that is one. torch's own are idle meanwhile."""
    count = torch.get_num_threads()
    return nullcontext() if count == 1 else ThreadPoolExecutor(count)


def over(pool: Executor | None, *works: LoopRange) -> None:
    """Do all of several works, in no order. They wait for each other once, at the end."""
    if pool is None:
        for work in works:
            work.kernel(0, work.size, *work.arguments)
        return
    pieces = [(work, start) for work in works for start in range(0, work.size, work.block)]
    for _ in pool.map(lambda piece: _piece(*piece), pieces):
        pass


def _piece(work: LoopRange, start: int) -> None:
    work.kernel(start, min(start + work.block, work.size), *work.arguments)
