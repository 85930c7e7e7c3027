"""What the system refuses (files, space, memory) in one line; no bug of astr, wherever it comes up."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from astr_cli.errors import AstrError, Stopped
from astr_cli.wording import first_line

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}
PLACE |= {errno.ENXIO, errno.ENODEV, errno.ENOLCK, errno.ETXTBSY, errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY}
PASSING = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.EBADF, getattr(errno, "ESTALE", errno.EIO)}
# What libraries say when memory, or a thread's share of it, cannot be had (ulimit -v, containers).
MEMORY = (
    *("DefaultCPUAllocator", "start new thread", "bad_alloc", "Insufficient memory", "failed to map segment"),
    *("out of memory", "Cannot allocate memory", "not enough memory", "unable to mmap"),
)


LEAST_SPACE = 4 << 30  # bytes of address space; with less, libraries loop for ever or crash while they are loaded


def require_address_space() -> None:
    """Raises AstrError when a limit of the shell (ulimit -v) leaves too little for the libraries."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST_SPACE:
        raise AstrError(
            f"the limit of address space (ulimit -v) is {limit >> 20:,} MB, but astr's libraries need "
            f"{LEAST_SPACE >> 20:,} MB; lift it with ulimit -v unlimited"
        )


def explained(error: BaseException) -> AstrError | None:
    """The error in the words of the user's world; None: it may be a bug."""
    if any(_is_memory(each) for each in _chain(error)):
        return Stopped(
            "there is not enough memory; close other programs, lift the limit (ulimit -v), or use a smaller "
            "--long-side, and run the same command again"
        )
    if not isinstance(error, OSError):
        return None
    name = error.filename if isinstance(error.filename, (str, bytes)) else "standard output"
    shown = name if isinstance(name, str) else name.decode(errors="replace")
    if error.errno in FULL:
        return Stopped(f"{shown}: the disk is full; free some space and run the same command again")
    if error.errno in PASSING:
        return Stopped(f"{shown}: {error.strerror}; run the same command again when that is mended")
    if error.errno in PLACE and error.filename is not None:
        return AstrError(f"{shown}: cannot be used ({error.strerror}); choose another file or folder")
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, (RuntimeError, ImportError, OSError)) and any(word in first_line(error) for word in MEMORY)
