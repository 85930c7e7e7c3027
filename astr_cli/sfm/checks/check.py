"""`check_paths`: the whole of `astr check`. Another process (worker.py) reads the files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from astr_cli.sfm.checks.report import FileReport

PATIENCE = 120.0  # seconds without a sign of life after which a file is given up
SUFFIXES = frozenset({".h5", ".hdf5", ".db", ".sqlite", ".sqlite3"})
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from astr_cli.sfm.checks.worker import main; main()"


def check_paths(paths: Sequence[Path]) -> list[FileReport]:
    """Checks files, and the HDF5 files and databases in folders; one report per file.

    Nothing is changed, and even a badly damaged file is only reported as unreadable.
    """
    files: list[Path] = []
    reports: dict[Path, FileReport] = {}
    for path in paths:
        inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        files += inside
        if not inside:
            files.append(path)
            reports[path] = FileReport(str(path), unreadable="this folder contains no HDF5 file and no database")
        elif not path.exists():
            reports[path] = FileReport(str(path), unreadable="no such file")
    with Inspector() as inspector:
        for file in dict.fromkeys(files):
            if file not in reports:
                reports[file] = inspector.inspect(file, companions(file, files))
    return [reports[file] for file in dict.fromkeys(files)]


def companions(file: Path, files: Sequence[Path]) -> list[Path]:
    """Where the keypoints of a file of matches may be: in the named files (those in its own folder first), then in
    files beside it with a usual name."""
    beside = [file.with_name("keypoints.h5"), file.with_name("features.h5"), *sorted(file.parent.glob("feats*.h5"))]
    named = sorted(files, key=lambda other: other.parent != file.parent)
    return [other for other in dict.fromkeys([*named, *beside]) if other != file and other.is_file()]


class Inspector:
    """The other process, started when first needed and again whenever a file has killed it."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._process: subprocess.Popen[str] | None = None
        self._hung = False

    def inspect(self, file: Path, others: Sequence[Path] = ()) -> FileReport:
        """The report on one file. Raises RuntimeError for a bug in astr."""
        request = json.dumps({"path": str(file), "others": [str(other) for other in others]})
        for _ in range(2):  # a process may die for another reason, such as too little memory
            answer = self._ask(request)
            if answer is not None:
                record = json.loads(answer)
                if "bug" in record:
                    raise RuntimeError(f"checking {file}: {record['bug']}")
                return FileReport.from_record(record)
            end = self._end()
            if self._hung:
                end = f"{self._patience:g} s without a sign of life"
                break
        return FileReport(str(file), unreadable=f"damaged: it crashes the process that reads it ({end}); make it again")

    def _ask(self, request: str) -> str | None:
        """The answer to a request, or None when the process died of it or was ended for its silence."""
        process = self._process = self._process or _start()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the checking process has no pipes")
        line = "."
        self._hung = False
        try:
            process.stdin.write(request + "\n")
            process.stdin.flush()
            while line.strip() == ".":
                timer = threading.Timer(self._patience, process.kill)
                timer.start()
                line = process.stdout.readline()
                self._hung = not timer.is_alive()
                timer.cancel()
        except BrokenPipeError:
            return None
        return line if line.endswith("\n") else None

    def __enter__(self) -> Inspector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._end()

    def _end(self) -> str:
        """Waits for the end of the process; how it ended."""
        process, self._process = self._process, None
        if process is None:
            return "not started"
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # the rest of a request to a process that has ended
                    pipe.close()
        return signal.Signals(-code).name if code < 0 else f"code {code}"


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START, json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
