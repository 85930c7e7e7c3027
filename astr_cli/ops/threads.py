"""Ranges of work on torch's number of threads."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import torch


def workers() -> AbstractContextManager[Executor | None]:
    """Threads for `over`, as many as torch uses; None where that is one. torch's own are idle meanwhile."""
    count = torch.get_num_threads()
    return nullcontext() if count == 1 else ThreadPoolExecutor(count)


def over(pool: Executor | None, count: int, block: int, kernel: Callable[..., object], *arguments: object) -> None:
    """Call kernel(first, last, *arguments) for all blocks of 0..count; it should let go of Python's lock meanwhile."""
    if pool is None:
        kernel(0, count, *arguments)
        return
    starts = range(0, count, block)
    for _ in pool.map(lambda start: kernel(start, min(start + block, count), *arguments), starts):
        pass
