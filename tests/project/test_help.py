"""`astr --help` loads nothing heavy and costs about as much as any Typer program's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from astr_cli.cli.app import app

HEAVY = {"torch", "pycolmap", "cv2", "h5py", "numpy", "scipy", "PIL", "safetensors"}
COMMANDS = [command.name for command in app.registered_commands]
LOADED = "import json, sys; from astr_cli.cli.app import run; run(sys.argv[1:]); print(json.dumps(sorted(sys.modules)))"
ASTR = "from astr_cli.cli.app import main; main()"
BARE = """
import typer
app = typer.Typer(name="bare", help="A bare program.")
for name in {names}:
    @app.command(name)
    def command() -> None:
        "Does something."
@app.callback()
def callback() -> None: ...
app()
"""


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS), ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout.splitlines()[-1])
    assert {name.split(".")[0] for name in modules} & HEAVY == set()
    assert "typer" in modules


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="CPU time of a child process: POSIX only")
def test_help_costs_at_most_half_more_than_a_bare_program(tmp_path: Path) -> None:
    """CPU time, best of nine, the two taken in turn: a busy machine slows both. Sources are compiled once, as they are
    where astr is installed, whatever the environment says.
    """
    bare = BARE.format(names=COMMANDS)
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    ours, theirs = [], []
    for _ in range(9):
        theirs.append(_cpu_seconds(bare, environment))
        ours.append(_cpu_seconds(ASTR, environment))
    assert min(ours) <= 1.5 * min(theirs), f"astr {min(ours):.3f} s, bare {min(theirs):.3f} s"


def _cpu_seconds(code: str, environment: dict[str, str]) -> float:
    process = subprocess.Popen([sys.executable, "-c", code, "--help"], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime
