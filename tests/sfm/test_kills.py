"""A run that is killed at any instant is followed by the same command succeeding."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.app import run

from .foreign_databases import files, query

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 there")

# A sample at every run of the tests; the whole drive by ASTR_KILLS=200 ASTR_FLIPS=300 and -m slow -s.
KILLS = int(os.environ.get("ASTR_KILLS", "3"))  # of each command, in the slow tests

# The command line in a process that dies, without any clean-up, at its Nth event of the file system or of SQLite:
# between these nothing that lasts can change. 0: counts them. The simulator's file stands for the matching step.
DYING = """
import os, shutil, signal, sys
from pathlib import Path
from astr_cli.cli.app import run
from astr_cli.matching.run.events import MatchSummary
from astr_cli.sfm import reconstruct
limit, source, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
seen = 0
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree", "sqlite3.connect"}

def hook(event, values):
    global seen
    changes = event != "open" or (isinstance(values[1], str) and set(values[1]) & set("wax+")) or (
        isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR))
    if event in EVENTS and changes:
        seen += 1
        if seen == limit:
            os.kill(os.getpid(), signal.SIGKILL)

def match(options, listener):
    shutil.copyfile(source, options.out)
    return MatchSummary(options.out, 15, 15, 0, (), 1, 6, 0, 0, 1.0)

reconstruct.match_pairs = match
sys.addaudithook(hook)
code = run(arguments)
print(seen)
sys.exit(code)
"""


def dying(limit: int, source: Path, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    arguments = [sys.executable, "-c", DYING, str(limit), str(source), *command]
    return subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=300)


def reconstruction(workplace: Path, out: Path) -> list[str]:
    photos = str(workplace / "photos")
    return ["reconstruct", photos, "--out", str(out), "--camera-mode", "single", "--pairs", "exhaustive", "-q"]


def state(out: Path) -> tuple[list[str], list[str], list[Any]]:
    verified = query(out / "database.db", "SELECT pair_id, rows FROM two_view_geometries ORDER BY pair_id")
    return files(out), files(out / "sparse"), verified


def kill_reconstruct(workplace: Path, steps: Sequence[int]) -> int:
    """How many of the kills were followed by anything but the whole result."""
    failed = 0
    whole = workplace / "whole"
    source = workplace / "matches.h5"
    assert dying(0, source, reconstruction(workplace, whole)).returncode == 0
    for step in steps:
        out = workplace / f"killed-{step}"
        done = dying(step, source, reconstruction(workplace, out))
        # 0: it had fewer steps than the counted run, which also compiled modules.
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        again = dying(0, source, reconstruction(workplace, out))
        if again.returncode != 0 or state(out) != state(whole):
            failed += 1
            print(f"step {step}: exit {again.returncode}, {again.stderr.strip()}, {state(out)[:2]}")
        shutil.rmtree(out)
    return failed


def kill_export(workplace: Path, steps: Sequence[tuple[int, str]]) -> int:
    failed = 0
    for step, form in steps:
        out, whole = workplace / f"killed-{step}-{form}", workplace / f"whole-{form}"
        command = ["export", str(workplace / "matches.h5"), "--format", form, "-q", "--out"]
        if not whole.exists():
            assert dying(0, workplace / "matches.h5", [*command, str(whole)]).returncode == 0
        done = dying(step, workplace / "matches.h5", [*command, str(out)])
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        code = run([*command, str(out)]) if done.returncode else 0
        if code != 0 or files(out) != files(whole):
            failed += 1
            print(f"step {step} of {form}: exit {code}, {files(out)}")
        shutil.rmtree(out)
    return failed


def count_steps(workplace: Path, command: Sequence[str]) -> int:
    done = dying(0, workplace / "matches.h5", command)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def test_a_killed_reconstruct_is_finished_by_the_same_command(workplace: Path) -> None:
    count = count_steps(workplace, reconstruction(workplace, workplace / "counted"))
    assert count > 50
    assert kill_reconstruct(workplace, [count // 2, count - 1]) == 0


def test_a_killed_export_is_finished_by_the_same_command(workplace: Path) -> None:
    command = ["export", str(workplace / "matches.h5"), "--format", "hloc", "-q", "--out", str(workplace / "counted")]
    count = count_steps(workplace, command)
    assert count > 10
    assert kill_export(workplace, [(count - 3, "hloc"), (count - 5, "hloc")]) == 0


def test_files_that_are_not_from_a_killed_export_are_kept(workplace: Path, capfd: Any) -> None:
    out = workplace / "out"
    command = ["export", str(workplace / "matches.h5"), "--format", "hloc", "-q", "--out", str(out)]
    assert run(command) == 0
    assert run(command) == 2
    assert "already exists; replace it with --overwrite" in capfd.readouterr().err


@pytest.mark.slow
def test_many_kills_of_reconstruct(workplace: Path) -> None:
    count = count_steps(workplace, reconstruction(workplace, workplace / "counted"))
    steps = random.Random(0).sample(range(1, count), min(KILLS, count - 1))
    failed = kill_reconstruct(workplace, steps)
    print(f"reconstruct: {len(steps)} kills at {count} places, {failed} failed")
    assert failed == 0


@pytest.mark.slow
def test_many_kills_of_export(workplace: Path) -> None:
    command = ["export", str(workplace / "matches.h5"), "-q", "--out", str(workplace / "counted"), "--format"]
    forms = ("hloc", "imc")
    places = []
    for form in forms:
        places += list(itertools.product(range(1, count_steps(workplace, [*command, form])), [form]))
        shutil.rmtree(workplace / "counted")
    steps = random.Random(0).sample(places, min(KILLS, len(places)))
    failed = kill_export(workplace, steps)
    print(f"export: {len(steps)} kills at {len(places)} places, {failed} failed")
    assert failed == 0
