"""The time that each stage of a run takes: reading, the stages of the model, writing."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from astr_cli.model.astr import Astr

STAGES = ("decode", "backbone", "aggregation", "dual softmax", "fine", "other", "refine", "write")
_ON_HOST = ("decode", "refine", "write")


class Stopwatch:
    """Seconds in each of `STAGES`, summed over all threads that work at the same time.

    On a GPU the model's stages are timed between events on the device: nothing waits for them.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._lock = threading.Lock()
        self._total: dict[str, float] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Counts what happens inside as `stage`."""
        if self._cuda and stage not in _ON_HOST:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            with self._lock:
                self._events.append((stage, start, end))
            return
        began = time.perf_counter()
        yield
        self._add(stage, time.perf_counter() - began)

    def watch(self, model: Astr) -> None:
        """Times the stages of `model` from now on."""
        for owner, method, stage in (
            (model.backbone, "forward", "backbone"),
            (model, "match", "other"),
            (model.aggregation, "forward", "aggregation"),
            (model.aggregation, "matching", "dual softmax"),
            (model.fine, "refine", "fine"),
        ):
            setattr(owner, method, self._timed(stage, getattr(owner, method)))

    def seconds(self) -> dict[str, float]:
        """Seconds of every stage, none counted twice."""
        if self._events:
            torch.cuda.synchronize()
        for stage, start, end in self._events:
            self._add(stage, start.elapsed_time(end) / 1e3)
        self._events.clear()
        total = {stage: self._total.get(stage, 0.0) for stage in STAGES}
        # Measured around each other: matching holds aggregation and fine stage, aggregation the dual softmax.
        total["other"] -= total["aggregation"] + total["fine"]
        total["aggregation"] -= total["dual softmax"]
        return total

    def _timed(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.time(stage):
                found = call(*args, **kwargs)
                if stage == "dual softmax":
                    found.best()  # computed once, and needed by every caller that asks for the matrix
                return found

        return timed

    def _add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._total[stage] = self._total.get(stage, 0.0) + seconds
