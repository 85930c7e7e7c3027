"""How much memory there is, and how much is in use."""

import os
from pathlib import Path

import torch

_GIB = 1 << 30


def default_cache_bytes(device: torch.device) -> int:
    """Room for the feature cache: a quarter of free RAM up to 2 GiB on a CPU, 80% of free device memory on a GPU."""
    if device.type == "cuda":
        return int(0.8 * torch.cuda.mem_get_info(device)[0])
    return min(free_host_bytes() // 4, 2 * _GIB)


def free_host_bytes() -> int:
    """RAM that can be had without swapping, no more than a container allows; 4 GiB where the system does not say."""
    free = [4 * _GIB]
    found = _meminfo_available()
    if found is not None:
        free = [found]
    limit, used = (_read_int(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        free.append(max(limit - used, 0))
    return min(free)


def used_bytes(device: torch.device) -> int | None:
    """Device memory in use, or the process's resident memory on a CPU; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that host or device memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _meminfo_available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _read_int(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # also "max": no limit
        return None
