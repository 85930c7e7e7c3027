"""Outputs that cannot be written: one line and exit code 2 from every command, and nothing in their place changes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.app import run

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes, links and sockets of other kinds there")

COMMANDS = {
    "match": ["match", "pairs.txt", "--images", "photos", "--out", "OUT"],
    "pairs": ["pairs", "exhaustive", "photos", "--out", "OUT", "--overwrite"],
    "import": ["colmap-import", "OUT", "--matches", "matches.h5", "--images", "photos"],
    "reconstruct": ["reconstruct", "photos", "--out", "OUT"],
    "export": ["export", "matches.h5", "--out", "OUT", "--overwrite"],
    "plots": ["match", "pairs.txt", "--images", "photos", "--out", "m.h5", "--plots", "OUT"],
    "train": ["train", "--photos", "photos", "--out", "OUT", "--device", "cpu"],
    "sheet": ["train", "--photos", "photos", "--contact-sheet", "OUT"],
    "validation": ["train", "--photos", "photos", "--write-validation", "OUT"],
}


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def plug(folder: Path) -> Path:
    """A special file, as a device is, for which no rights are needed."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("plug")
    return folder / "plug"


def circle(folder: Path) -> Path:
    (folder / "circle").symlink_to("circle")
    return folder / "circle"


def in_circle(folder: Path) -> Path:
    return circle(folder) / "out"


def too_long(folder: Path) -> Path:
    return folder / ("x" * 300)


def read_only(folder: Path) -> Path:
    """Where not even root makes files."""
    if sys.platform != "linux":
        pytest.skip("needs a folder that is read-only for root as well")
    return Path("/sys/astr-out")


@pytest.fixture
def at_work(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (workplace / "pairs.txt").write_text('a.png "b c.png"\n')
    monkeypatch.chdir(workplace)
    return workplace


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", [pipe, plug, circle, in_circle, too_long])
def test_one_line(command: str, place: Callable[[Path], Path], at_work: Path, capfd: Any) -> None:
    out = place(at_work)
    before = sorted(at_work.rglob("*"))
    kind = out.lstat().st_mode if os.path.lexists(out.parent) and len(out.name) < 255 and place is not in_circle else 0
    assert run([str(out) if word == "OUT" else word for word in COMMANDS[command]]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "bug" not in said, said
    assert sorted(at_work.rglob("*")) == before
    if kind:
        assert out.lstat().st_mode == kind


@pytest.mark.parametrize("command", ["match", "pairs", "import", "reconstruct", "export", "plots", "sheet"])
def test_a_folder_that_is_read_only(command: str, at_work: Path, capfd: Any) -> None:
    out = read_only(at_work)
    assert run([str(out) if word == "OUT" else word for word in COMMANDS[command]]) == 2
    said = capfd.readouterr().err.splitlines()
    assert said[-1].startswith(f"astr: {out}") and "bug" not in said[-1]


@pytest.mark.parametrize("command", ["match", "pairs", "import"])
def test_names_need_room_for_those_that_astr_makes_of_them(command: str, at_work: Path, capfd: Any) -> None:
    before = sorted(at_work.rglob("*"))
    assert run(["y" * 171 if word == "OUT" else word for word in COMMANDS[command]]) == 2
    assert "its name has more than 170 bytes; choose a shorter" in capfd.readouterr().err
    assert sorted(at_work.rglob("*")) == before


NO_LOCKS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
static int none(int file, int what, void *value, const char *name) {
  if (what == F_SETLK || what == F_SETLKW) { errno = ENOLCK; return -1; }
  int (*real)(int, int, ...) = dlsym(RTLD_NEXT, name);
  return real(file, what, value);
}
int flock(int file, int what) { errno = ENOLCK; return -1; }
int fcntl(int file, int what, ...) {
  va_list all; va_start(all, what); void *value = va_arg(all, void *); va_end(all);
  return none(file, what, value, "fcntl");
}
int fcntl64(int file, int what, ...) {
  va_list all; va_start(all, what); void *value = va_arg(all, void *); va_end(all);
  return none(file, what, value, "fcntl64");
}
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
def test_databases_on_a_drive_without_locks(at_work: Path) -> None:
    """Case 10, for SQLite: COLMAP cannot work there, which is said."""
    Path("none.c").write_text(NO_LOCKS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "none.so", "none.c", "-ldl"], check=True)
    command = [sys.executable, "-m", "astr_cli", "colmap-import", "d.db", "--matches", "matches.h5"]
    environment = {**os.environ, "LD_PRELOAD": str(at_work / "none.so"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "COLMAP cannot open a database there; if it is a network drive without locks" in done.stderr.splitlines()[-1]
    assert not Path("d.db").exists()
