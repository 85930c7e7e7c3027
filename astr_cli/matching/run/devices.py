"""`match_on_devices`: a process per GPU of this machine, each with shards of the run, merged by the driver.

A worker that is killed is replaced by another one, which resumes its shard. Workers end when the driver does.
"""

import multiprocessing
import os
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

import torch

from astr_cli.errors import AstrError
from astr_cli.matching.resources.compute import find_device
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.matching.run.events import Listener, MatchSummary
from astr_cli.matching.run.match import match_pairs
from astr_cli.matching.run.sharded import RETRIES, Told, match_in_shards
from astr_cli.options.matching import MatchOptions

POLLED = 0.5  # seconds between two looks at the stop flag


def match_on_every_gpu(options: MatchOptions, listener: Listener) -> MatchSummary:
    """As `match_pairs` by all GPUs of this machine. Raises OptionError: there is none; and as `match_on_devices`."""
    find_device("cuda")
    return match_on_devices(options, [f"cuda:{number}" for number in range(torch.cuda.device_count())], listener)


def match_on_devices(options: MatchOptions, devices: Sequence[str], listener: Listener) -> MatchSummary:
    """As `match_pairs`, with the same bytes, by a process per device. Raises AstrError: `out` exists, or a worker
    died too often; Interrupted: asked to stop; and what a shard raises. The same call resumes.
    """
    if len(devices) == 1:
        return match_pairs(replace(options, device=devices[0]), listener)

    def compute(runs: list[MatchOptions], told: Told, stop: StopFlag) -> list[MatchSummary]:
        return _Driver(runs, told, stop).run(devices)

    return match_in_shards(options, len(devices), listener, compute)


class _Worker(NamedTuple):
    """A process that matches a shard."""

    shard: int
    """Its place in the list of runs."""
    device: str
    process: BaseProcess
    end: Connection
    """Gets events, and at the end a summary or an AstrError."""


class _Driver:
    """Gives each device the next shard until all are matched."""

    def __init__(self, runs: list[MatchOptions], told: Told, stop: StopFlag) -> None:
        self._runs, self._told, self._stop = runs, told, stop
        self._waiting = list(range(len(runs)))
        self._deaths = [0] * len(runs)
        self._done: dict[int, MatchSummary] = {}
        self._workers: list[_Worker] = []

    def run(self, devices: Sequence[str]) -> list[MatchSummary]:
        """Summaries in the order of the runs. Raises as `match_on_devices`."""
        try:
            for device in devices:
                self._start_next(device)
            while self._workers:
                ready = wait([worker.end for worker in self._workers], POLLED)
                for worker in [worker for worker in self._workers if worker.end in ready]:
                    self._take(worker)
                self._stop.check()
        finally:
            self._end_all()
        return [self._done[number] for number in range(len(self._runs))]

    def _start_next(self, device: str) -> None:
        if not self._waiting:
            return
        shard = self._waiting.pop(0)
        spawn = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        end, theirs = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_match_shard, args=(replace(self._runs[shard], device=device), theirs))
        process.start()
        theirs.close()  # so that the pipe ends with the worker
        self._workers.append(_Worker(shard, device, process, end))

    def _take(self, worker: _Worker) -> None:
        """One message of a worker, or its end."""
        try:
            message = worker.end.recv()
        except (EOFError, OSError):
            self._ended(worker)
            return
        if isinstance(message, AstrError):
            raise message
        if isinstance(message, MatchSummary):
            self._done[worker.shard] = message
        else:
            self._told.tell(str(worker.shard), message)

    def _ended(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.end.close()
        worker.process.join()
        if worker.shard not in self._done:
            self._deaths[worker.shard] += 1
            code, out = worker.process.exitcode, self._runs[worker.shard].out
            if code is None or code >= 0:
                raise AstrError(f"{out}: the worker on {worker.device} failed; its error is above")
            if self._deaths[worker.shard] > RETRIES:
                raise AstrError(f"{out}: its worker died {RETRIES + 1} times; run the same command again to resume")
            self._waiting.insert(0, worker.shard)
        self._start_next(worker.device)

    def _end_all(self) -> None:
        """Asks workers to stop after their batches, and waits for them."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            # A full pipe would hold up a worker that still tells.
            with suppress(EOFError, OSError):
                while True:
                    worker.end.recv()
            worker.process.join()


def _match_shard(options: MatchOptions, end: Connection) -> None:
    os.setsid()  # Ctrl-C in a terminal asks the driver, which asks the workers
    try:
        end.send(match_pairs(options, end.send))
    except BrokenPipeError:  # the driver is gone
        return
    except AstrError as error:
        with suppress(BrokenPipeError):
            end.send(error)
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
