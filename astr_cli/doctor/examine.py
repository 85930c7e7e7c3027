"""Runs all checks in another process, as a broken library can end the process that loads it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from astr_cli.doctor.checks import CHECKS, FOLDER
from astr_cli.doctor.finding import Finding, problem

PATIENCE = 600.0  # seconds for one finding: a slow machine compiles numba's loops for minutes
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from astr_cli.doctor.worker import main; main()"


def examine(folder: Path, names: Sequence[str] = (*CHECKS, FOLDER), patience: float = PATIENCE) -> Iterator[Finding]:
    """The findings of the named checks, each as soon as it is known.

    A check that ends its process is a finding, and the next ones get a new process.
    """
    left = list(names)
    while left:
        command = [sys.executable, "-c", START, json.dumps(sys.path), str(folder), *left]
        with _start(command) as process:
            try:
                yield from _findings(process, left, patience)
            finally:
                process.kill()
        if left:
            name = left.pop(0)
            todo = "The first check that ends its process shows which library to install again."
            yield problem(name, f"the check ended its process ({_end(process.returncode)})", todo)


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=nowhere, stdout=subprocess.PIPE, stderr=nowhere, encoding="utf-8")


def _findings(process: subprocess.Popen[str], left: list[str], patience: float) -> Iterator[Finding]:
    """What the process finds until it ends; takes checks that are done out of `left`."""
    while left and process.stdout is not None:
        timer = threading.Timer(patience, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        if not line.endswith("\n"):
            process.wait()
            return
        record = json.loads(line)
        if record is None:
            left.pop(0)
        else:
            yield Finding(**record)


def _end(code: int) -> str:
    """How a process ended."""
    if code >= 0:
        return f"code {code}"
    return "killed: too little memory, or no answer in time" if -code == signal.SIGKILL else signal.Signals(-code).name
