"""One comparison: implementations of one operator at one size, and the least cost of each."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor

from astr_cli.ops.backends import VARIABLE, BackendError, backend_name

Call = Callable[[], object]
STEPS = ("forward", "forward+backward")


class Unavailable(Exception):
    """An implementation is not available on this machine; the message says why."""


class Cost(NamedTuple):
    """Least work of an implementation."""

    flops: float
    bytes: float  # held at once; of a floor, moved once


class Contender(NamedTuple):
    """One implementation, ready to be prepared: `prepare` is not timed. It raises Unavailable."""

    name: str
    cost: Cost
    prepare: Callable[[], Call]


class Trial(NamedTuple):
    """All implementations of one step at one size."""

    operator: str
    grid: tuple[int, int]
    batch: int
    lists: str  # realistic, random, or empty
    keys: float | None  # per query, on average
    step: str
    peer: str  # the contender that ratios are taken to
    floor: Cost  # the least work of any implementation
    contenders: tuple[Contender, ...]


@contextmanager
def asked_for(backend: str) -> Iterator[None]:
    """ASTR_ATTENTION set to `backend`."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = backend
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def served_by(backend: str, like: Tensor, call: Call) -> Call:
    """`call` with one of astr's backends; raises Unavailable when it does not support tensors like this one."""
    try:
        with asked_for(backend):
            backend_name(like.device.type, like.dtype)
    except BackendError as error:
        raise Unavailable(str(error)) from None

    def asking() -> None:
        with asked_for(backend):
            call()

    return asking
