"""Standard input, output and error as a command needs them, also where the shell closed one or its disk is full."""

from __future__ import annotations

import io
import os
import sys


class _Forgiving(io.FileIO):
    """Drops what cannot be written: the run matters more than the lines about it."""

    def write(self, data: object, /) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        try:
            return super().write(view)
        except OSError:
            return view.nbytes


def prepare_streams() -> None:
    """Makes the three streams usable; call it before any file is opened.

    A closed one gets a descriptor, or the next file would get that number, and what libraries print would end up in
    it. Standard output gets one that cannot be written, so that lost results are an error. Any file name can be
    printed, also on Windows and into pipes.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        if not _is_open(number):
            os.open(os.devnull, mode)  # gets the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="backslashreplace")
    encoding = sys.stderr.encoding if sys.stderr is not None and sys.stderr.isatty() else "utf-8"
    raw = io.BufferedWriter(_Forgiving(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=True)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
