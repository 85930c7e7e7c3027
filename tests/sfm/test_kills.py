"""A run that is killed at any instant is followed by the same command succeeding."""

import itertools
import os
import random
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.app import run

from .dying import Driver
from .foreign_databases import files, query

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 there")

# A sample at every run of the tests; the whole drive by ASTR_KILLS=200 ASTR_FLIPS=300 and -m slow -s.
KILLS = int(os.environ.get("ASTR_KILLS", "3"))  # of each command, in the slow tests


def reconstruction(workplace: Path, out: Path) -> list[str]:
    photos = str(workplace / "photos")
    return ["reconstruct", photos, "--out", str(out), "--camera-mode", "single", "--pairs", "exhaustive", "-q"]


def state(out: Path) -> tuple[list[str], list[str], list[Any]]:
    verified = query(out / "database.db", "SELECT pair_id, rows FROM two_view_geometries ORDER BY pair_id")
    return files(out), files(out / "sparse"), verified


def kill_reconstruct(driver: Driver, place: Path, steps: Sequence[int]) -> int:
    """How many of the kills were followed by anything but the whole result."""
    failed = 0
    whole = place / "whole"
    source = place / "matches.h5"
    assert driver.run(source, reconstruction(place, whole)).returncode == 0
    for step in steps:
        out = place / f"killed-{step}"
        done = driver.run(source, reconstruction(place, out), step)
        # 0: it had fewer steps than the counted run, which also compiled modules.
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        again = driver.run(source, reconstruction(place, out))
        if again.returncode != 0 or state(out) != state(whole):
            failed += 1
            print(f"step {step}: exit {again.returncode}, {again.stderr.strip()}, {state(out)[:2]}")
        shutil.rmtree(out)
    return failed


def kill_export(driver: Driver, place: Path, steps: Sequence[tuple[int, str]]) -> int:
    failed = 0
    source = place / "matches.h5"
    for step, form in steps:
        out, whole = place / f"killed-{step}-{form}", place / f"whole-{form}"
        command = ["export", str(source), "--format", form, "-q", "--out"]
        if not whole.exists():
            assert driver.run(source, [*command, str(whole)]).returncode == 0
        done = driver.run(source, [*command, str(out)], step)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        code = driver.run(source, [*command, str(out)]).returncode if done.returncode else 0
        if code != 0 or files(out) != files(whole):
            failed += 1
            print(f"step {step} of {form}: exit {code}, {files(out)}")
        shutil.rmtree(out)
    return failed


def count_steps(driver: Driver, place: Path, command: Sequence[str]) -> int:
    done = driver.run(place / "matches.h5", command)
    assert done.returncode == 0, done.stderr
    return done.steps


def test_a_killed_reconstruct_is_finished_by_the_same_command(driver: Driver, small: Path) -> None:
    count = count_steps(driver, small, reconstruction(small, small / "counted"))
    assert count > 50
    assert kill_reconstruct(driver, small, [count // 2, count - 1]) == 0


def test_a_killed_export_is_finished_by_the_same_command(driver: Driver, small: Path) -> None:
    command = ["export", str(small / "matches.h5"), "--format", "hloc", "-q", "--out", str(small / "counted")]
    count = count_steps(driver, small, command)
    assert count > 10
    assert kill_export(driver, small, [(count - 3, "hloc"), (count - 5, "hloc")]) == 0


def test_files_that_are_not_from_a_killed_export_are_kept(workplace: Path, capfd: Any) -> None:
    out = workplace / "out"
    command = ["export", str(workplace / "matches.h5"), "--format", "hloc", "-q", "--out", str(out)]
    assert run(command) == 0
    assert run(command) == 2
    assert "already exists; replace it with --overwrite" in capfd.readouterr().err


@pytest.mark.slow
def test_many_kills_of_reconstruct(driver: Driver, small: Path) -> None:
    """Every place once, then some of them again."""
    count = count_steps(driver, small, reconstruction(small, small / "counted"))
    draw = random.Random(0)
    steps = draw.sample(range(1, count), min(KILLS, count - 1))
    steps += draw.choices(range(1, count), k=KILLS - len(steps))
    failed = kill_reconstruct(driver, small, steps)
    print(f"reconstruct: {len(steps)} kills at {count} places, {failed} failed")
    assert failed == 0


@pytest.mark.slow
def test_many_kills_of_export(driver: Driver, small: Path) -> None:
    command = ["export", str(small / "matches.h5"), "-q", "--out", str(small / "counted"), "--format"]
    forms = ("hloc", "imc")
    places = []
    for form in forms:
        places += list(itertools.product(range(1, count_steps(driver, small, [*command, form])), [form]))
        shutil.rmtree(small / "counted")
    draw = random.Random(0)
    steps = draw.sample(places, min(KILLS, len(places)))
    steps += draw.choices(places, k=KILLS - len(steps))
    failed = kill_export(driver, small, steps)
    print(f"export: {len(steps)} kills at {len(places)} places, {failed} failed")
    assert failed == 0
