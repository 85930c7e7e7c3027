"""astr's command line in processes that are killed, or asked to stop, at any of their steps.

Loading the libraries takes longer than the work, so one process loads them and forks one for each command.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# The command line in a process that gets a signal at its Nth event of the file system or of SQLite: between these
# nothing that lasts can change. 0: counts them. The simulator's file stands for the matching step.
SERVER = """
import json, os, shutil, sys, traceback
from astr_cli.cli.app import run
from astr_cli.cli import reconstruct_output
from astr_cli.matching.run.events import MatchSummary
from astr_cli.sfm.reconstruction import reconstruct
from astr_cli.sfm.exports import export, hdf5, text
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree", "sqlite3.connect"}
seen = 0

def child(limit, number, source, arguments, folder):
    for place, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), place)

    def hook(event, values):
        global seen
        changes = event != "open" or (isinstance(values[1], str) and set(values[1]) & set("wax+")) or (
            isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR))
        if event in EVENTS and changes:
            seen += 1
            if seen == limit:
                os.kill(os.getpid(), number)

    def match(options, listener):
        shutil.copyfile(source, options.out)
        return MatchSummary(options.out, 15, 15, 0, (), 1, 6, 0, 0, 1.0)

    reconstruct.match_pairs = match
    sys.addaudithook(hook)
    code = run(arguments)
    print(seen)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

for line in sys.stdin:
    request = json.loads(line)
    process = os.fork()
    if not process:
        try:
            child(*request)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    print(process, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def steps(self) -> int:
        return int(self.stdout.split()[-1])


class Driver:
    """Runs commands. `folder`: for what they print."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        with self._server:
            if self._server.stdin is not None:
                self._server.stdin.close()

    def start(self, source: Path, command: Sequence[str], limit: int = 0, number: int = signal.SIGKILL) -> int:
        """Starts a command that gets signal `number` at its event `limit`; returns its process."""
        if self._server.stdin is None:
            raise RuntimeError("the server has ended")
        request = [limit, int(number), str(source), list(command), str(self._folder)]
        self._server.stdin.write(f"{json.dumps(request)}\n")
        self._server.stdin.flush()
        return int(self._line())

    def wait(self) -> Done:
        """Until the command ends."""
        code = int(self._line())
        said = [(self._folder / name).read_text(errors="replace") for name in ("out", "err")]
        return Done(code, *said)

    def run(self, source: Path, command: Sequence[str], limit: int = 0, number: int = signal.SIGKILL) -> Done:
        """The whole of a command."""
        self.start(source, command, limit, number)
        return self.wait()

    def _line(self) -> str:
        if self._server.stdout is None:
            raise RuntimeError("the server has ended")
        return self._server.stdout.readline()
