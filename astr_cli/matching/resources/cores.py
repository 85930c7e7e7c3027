"""How the cores of a CPU are divided: several pairs in parallel, each by a few threads.

On a CPU two pairs in parallel, one thread each, finish sooner than one after the other with two threads: the many
small steps of a pair wait for the slowest thread at their ends. A GPU has two jobs: while one waits for the scale
ratios, which the CPU computes, the other keeps the GPU busy.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, ParamSpec, TypeVar

import torch

T = TypeVar("T")
P = ParamSpec("P")
GPU_JOBS = 2
MOST_JOBS = 4  # memory grows with them
ROOM = 2 << 30  # extra bytes that parallel batches may use beyond one batch
MAPS = 5  # largest backbone maps alive at once


class CoreSplit(NamedTuple):
    """How many pairs a device computes in parallel, and with how many threads each."""

    jobs: int
    """Pairs in parallel."""
    threads: int
    """torch's threads for each pair. They decide the last bits, so they depend on the number of cores only."""


def split_cores(device: torch.device) -> CoreSplit:
    """Shares all of torch's threads out among jobs."""
    cores = torch.get_num_threads()
    if device.type != "cpu":
        return CoreSplit(GPU_JOBS, max(1, cores // GPU_JOBS))
    jobs = min(cores, MOST_JOBS)
    return CoreSplit(jobs, cores // jobs)


def fitting(split: CoreSplit, pixels: int, channels: int) -> CoreSplit:
    """As many jobs as fit in ROOM, but no more than `split` has.

    Images have `pixels` matched pixels, and their half-size maps `channels` channels. The threads of a job stay the
    same, and with them every bit.
    """
    each = max(1, MAPS * channels * pixels)  # a quarter of the pixels, in four bytes
    return split._replace(jobs=max(1, min(split.jobs, ROOM // each)))


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """The calling thread's torch operators run on `count` threads."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class JobPool:
    """Threads that each compute one image or one batch at a time.

    torch's number of threads belongs to each thread: the jobs set theirs once, at their start, so that
    no thread changes it while another one computes.
    """

    def __init__(self, split: CoreSplit) -> None:
        self._before = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(split.jobs, "astr-job", torch.set_num_threads, (split.threads,))

    def close(self) -> None:
        """Cancels the work not yet begun and waits for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._before)  # MKL's number is shared by all threads

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Starts `work` as soon as a job is free."""
        return self._pool.submit(work, *args, **kwargs)
