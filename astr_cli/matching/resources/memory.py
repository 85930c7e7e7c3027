"""How much memory there is, and how much is in use."""

import os
from pathlib import Path
from typing import NamedTuple

import torch

_GIB = 1 << 30
LEAST_DECODING = _GIB // 2  # any camera's photo, whatever `--memory` says: 64 megapixels
CGROUPS = Path("/sys/fs/cgroup")


class _Cgroup(NamedTuple):
    """Where a version of Linux's control groups keeps a container's memory, below CGROUPS."""

    limit: str
    used: str
    stat: str
    inactive: str
    """The field of `stat` with the bytes of files that were not read lately."""


_V2 = _Cgroup("memory.max", "memory.current", "memory.stat", "inactive_file")
_V1 = _Cgroup(
    "memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"
)


def default_cache_bytes(device: torch.device) -> int:
    """Room for the feature cache: a quarter of free RAM up to 2 GiB on a CPU, 80% of free device memory on a GPU."""
    if device.type == "cuda":
        return int(0.8 * torch.cuda.mem_get_info(device)[0])
    return min(free_host_bytes() // 4, 2 * _GIB)


def decoding_limit(memory: int | None, workers: int) -> int:
    """How many bytes the decoding of one photo may take: `--memory`, or else a worker's share of free RAM."""
    return max(LEAST_DECODING, free_host_bytes() // workers if memory is None else memory)


def free_host_bytes(cgroups: Path = CGROUPS) -> int:
    """RAM available without swapping, at most what a container allows; 4 GiB when the system does not report it."""
    found = _meminfo_available()
    free = [4 * _GIB if found is None else found]
    for names in (_V2, _V1):
        limit, used = (_read_int(cgroups / name) for name in (names.limit, names.used))
        if limit is not None and used is not None:
            # `used` counts every file that was read; what was not read lately is dropped as soon as memory is wanted.
            dropped = _read_field(cgroups / names.stat, names.inactive) or 0
            free.append(max(limit - used + min(dropped, used), 0))
    return min(free)


def used_bytes(device: torch.device) -> int | None:
    """Device memory in use, or the process's resident memory on a CPU; None when the system does not report it."""
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
    kibibytes = _read_field(Path("/proc/meminfo"), "MemAvailable:")
    return None if kibibytes is None else kibibytes * 1024


def _read_field(path: Path, name: str) -> int | None:
    """The number behind `name` in a file with one name and one number per line."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
        return next((int(words[1]) for words in lines if words[:1] == [name]), None)
    except (OSError, ValueError, IndexError):
        return None


def _read_int(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # also "max": no limit
        return None
