"""Time and memory of a call, and the machine's best rates."""

import ctypes
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from astr_cli.bench.comparison import Call
from astr_cli.bench.records import Machine

ROUNDS, ENOUGH = 5, 4.0  # timings of each implementation, fewer once they took this many seconds
QUEUED, MOST_QUEUED = 0.02, 200  # calls of one timing on a GPU: for about so many seconds, so many at most


def machine(device: torch.device, dtype: torch.dtype) -> Machine:
    """Measure the rates of `device`."""
    cpu = device.type == "cpu"
    size, bytes_copied = (1536, 1 << 27) if cpu else (8192, 1 << 30)
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    block = torch.empty(bytes_copied, dtype=torch.uint8, device=device)
    other = torch.empty_like(block)
    matmul = min(seconds(lambda: a @ b, device) for _ in range(4))
    copy = min(seconds(lambda: other.copy_(block), device) for _ in range(4))
    return Machine(
        device=device.type if cpu else torch.cuda.get_device_name(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        dtype=str(dtype).removeprefix("torch."),
        matmul_gflops=2 * size**3 / matmul / 1e9,
        copy_gigabytes=2 * bytes_copied / copy / 1e9,
    )


def core_gflops() -> float:
    """Rate of a matrix product on one core, by processor time, which other work on the machine hardly changes."""
    a, b = torch.randn(2, 1536, 1536)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        best = float("inf")
        for _ in range(4):
            start = time.thread_time()
            torch.mm(a, b)
            best = min(best, time.thread_time() - start)
    finally:
        torch.set_num_threads(before)
    return 2 * 1536**3 / best / 1e9


def seconds(call: Call, device: torch.device, repeats: int = 1) -> float:
    """Time of one call, its work on the device included: the mean of `repeats` that are queued one after the other."""
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    _wait(device)
    return (time.perf_counter() - start) / repeats


def interleaved(calls: dict[str, tuple[Call, float]], device: torch.device) -> dict[str, tuple[float, float]]:
    """Median and quickest milliseconds of each call, in turn, so that a busy machine slows all alike.

    Each comes with the seconds that it took the last time; that counts where it is long enough to stand alone. On a
    GPU short calls are queued, as a model queues them: alone, each would be as slow as its launch.
    """
    taken = {name: [last] if last > ENOUGH else [] for name, (_, last) in calls.items()}
    for _ in range(ROUNDS):
        for name, (call, last) in calls.items():
            if sum(taken[name]) < ENOUGH:
                repeats = 1 if device.type == "cpu" else min(MOST_QUEUED, int(QUEUED / last) + 1)
                taken[name].append(seconds(call, device, repeats))
    return {name: (1e3 * median(times), 1e3 * min(times)) for name, times in taken.items()}


def peak_megabytes(call: Call, device: torch.device) -> float | None:
    """Peak memory of a call beyond the memory held before it; None where the system does not report it."""
    if device.type == "cuda":
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        _wait(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    if not _reset_peak():
        call()
        return None
    resident = _status("VmRSS")
    call()
    return max(0.0, _status("VmHWM") - resident)


class PeakMemory(NamedTuple):
    """Peak memory in MiB; None where the system does not report it."""

    host: float | None  # resident, of the whole process
    device: float | None


def peak_resident(call: Call, device: torch.device) -> PeakMemory:
    """Peak memory of the process while `call` runs, including the memory held before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    reset = _reset_peak()
    call()
    host = _status("VmHWM") if reset else None
    return PeakMemory(host, torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None)


def free_bytes(device: torch.device) -> float:
    """Memory that a benchmark may take."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return 0.8 * float(torch.cuda.mem_get_info(device)[0] + kept)
    if sys.platform.startswith("linux"):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 0.6 * 1024 * next(float(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return 4.0 * 2**30


def _reset_peak() -> bool:
    """Resets the process's peak resident size to its present size; False where the system cannot do that."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        # Freed memory that the process keeps would hide what a call takes.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return False
    return True


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
