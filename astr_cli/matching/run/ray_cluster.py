"""`match_on_ray`: the shards of a run as tasks of a Ray cluster, merged by the driver.

Driver and workers share a file system. A shard is an ordinary run with a journal of its own: a worker that dies is
replaced by another one, which resumes the shard, and so does the same command after a stop.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from astr_cli.errors import AstrError
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.matching.run.events import Event, Listener, MatchSummary
from astr_cli.matching.run.match import match_pairs
from astr_cli.matching.run.sharded import RETRIES, Told, match_in_shards
from astr_cli.options.cluster import ClusterOptions
from astr_cli.options.matching import EVERY_GPU, MatchOptions
from astr_cli.wording import first_line

POLLED = 0.5  # seconds between two looks at the tasks
ANSWERS = 10.0  # seconds within which a cluster takes a connection; Ray itself would wait for minutes
VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")  # in Ray's message, of the cluster and of this process


def match_on_ray(options: MatchOptions, cluster: ClusterOptions, listener: Listener) -> MatchSummary:
    """As `match_pairs`, with the same bytes. Raises AstrError: no Ray, no cluster, or `out` exists; and as it does."""
    if options.device == EVERY_GPU:
        raise AstrError(f"--device {EVERY_GPU}: for one machine; with --ray, give cuda: each shard gets a GPU")

    def compute(runs: list[MatchOptions], told: Told, stop: StopFlag) -> list[MatchSummary]:
        with _connected(str(cluster.ray)) as ray:
            return _Driver(ray, told, stop).run(runs)

    return match_in_shards(options, cluster.shards, listener, compute)


class _Driver:
    """Starts one task per shard."""

    def __init__(self, ray: Any, told: Told, stop: StopFlag) -> None:
        self._ray, self._told, self._stop = ray, told, stop

    def run(self, runs: list[MatchOptions]) -> list[MatchSummary]:
        """Raises what a shard raises, and Interrupted when asked to stop: its shards stop after their batches."""
        gpu = runs[0].device.startswith("cuda") or (runs[0].device == "auto" and "GPU" in self._ray.cluster_resources())
        events = self._ray.remote(num_cpus=0)(_Events).remote()
        task = self._ray.remote(
            num_cpus=runs[0].jobs or 1, num_gpus=1 if gpu else 0, max_retries=RETRIES, retry_exceptions=False
        )(_match_shard)
        waiting = [task.remote(run, events) for run in runs]
        every = list(waiting)
        try:
            while waiting:
                _, waiting = self._ray.wait(waiting, num_returns=len(waiting), timeout=POLLED)
                for name, event in self._ray.get(events.take.remote()):
                    self._told.tell(name, event)
                self._stop.check()
            return list(self._ray.get(every))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, AstrError) else error from None
        except self._ray.exceptions.WorkerCrashedError:
            raise AstrError(
                f"{runs[0].out.parent}: a worker died {RETRIES + 1} times; run it again to resume"
            ) from None
        finally:
            for each in waiting:
                self._ray.cancel(each)


class _Events:
    """An actor that holds what the shards tell until the driver takes it."""

    def __init__(self) -> None:
        self._held: list[tuple[str, Event]] = []

    def put(self, name: str, event: Event) -> None:
        self._held.append((name, event))

    def take(self) -> list[tuple[str, Event]]:
        held, self._held = self._held, []
        return held


def _match_shard(options: MatchOptions, events: Any) -> MatchSummary:
    return match_pairs(options, lambda event: events.put.remote(str(options.shard), event))


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        import ray
    except ImportError:
        raise AstrError("--ray: Ray is not installed; install it with pip install 'astr-cli[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    try:
        _check_address(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (RuntimeError, ValueError, OSError) as error:
        with suppress(RuntimeError):
            ray.shutdown()  # what a refused connection began
        raise AstrError(f"--ray {address}: {_problem(error)}") from None
    try:
        yield ray
    finally:
        with suppress(RuntimeError):
            ray.shutdown()


def _check_address(address: str) -> None:
    """Raises OSError unless something listens at a HOST:PORT; names such as auto and ray://HOST:PORT pass."""
    wanted = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, colon, port = wanted.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host, int(port)), ANSWERS).close()
        except (OSError, OverflowError) as error:
            raise OSError(f"nothing answers at {wanted} ({first_line(error)})") from None


def _problem(error: Exception) -> str:
    """What is wrong with a cluster and what to do; Ray's message on versions has several lines."""
    versions = VERSIONS.findall(str(error))
    if len(versions) == 2:
        (ray, python), (own_ray, own_python) = versions
        return (
            f"the cluster has Ray {ray} and Python {python}, but this environment has Ray {own_ray} and Python "
            f"{own_python}; run astr in an environment with those of the cluster (pip install ray=={ray})"
        )
    return f"{first_line(error)}; start a cluster with ray start --head, or give the address that it printed"
