"""Imports into databases with flipped bytes, hot journals and open writers: one line and the right exit code each."""

import os
import random
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.app import run

from .foreign_databases import files, query
from .test_databases_in_use import MODES, POINTS, busy, kill_writer

FLIPS = int(os.environ.get("ASTR_FLIPS", "6"))
# A sample at every run of the tests; the whole drive by ASTR_KILLS=200 ASTR_FLIPS=300 and -m slow -s.
KILLS = int(os.environ.get("ASTR_KILLS", "3"))


def import_into(path: Path, capfd: Any) -> tuple[int, str]:
    """Exit code and messages; faults of COLMAP's libraries would end the test run."""
    capfd.readouterr()
    code = run(["colmap-import", str(path), "--mode", "append", "-q"])
    errors = [line for line in capfd.readouterr().err.splitlines() if "warning:" not in line]
    return code, "\n".join(errors)


def flip(content: bytes, draw: random.Random, most: int) -> bytes:
    data = bytearray(content)
    for _ in range(draw.randint(1, most)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def flips(sift: Path, count: int, capfd: Any) -> list[str]:
    """Imports into a damaged database ended otherwise than well, or refused with one line."""
    content, draw, codes = sift.read_bytes(), random.Random(0), Counter[int]()
    failed: list[str] = []
    folder = sift.parent / "flipped"
    folder.mkdir()
    shutil.copy(sift.parent / "matches.h5", folder)
    shutil.copytree(sift.parent / "photos", folder / "photos")
    for number in range(count):
        path = folder / f"{number}.db"
        # Pages at the beginning hold the tables' schema: half of the flips are there.
        start = flip(content[:8192], draw, 8) + content[8192:] if number % 2 else flip(content, draw, 64)
        path.write_bytes(start)
        code, errors = import_into(path, capfd)
        codes[code] += 1
        good = code in (0, 3) or (code == 2 and errors.count("\n") == 0 and path.read_bytes() == start)
        if not good:
            failed.append(f"flip {number}: exit {code}, {errors}")
        for left in folder.glob(f"*{number}.db*"):
            left.unlink()
    with capfd.disabled():
        print(f"databases: {count} with flipped bits, exit codes {dict(codes)}, {len(failed)} failed")
    return failed


def test_flipped_bits(sift: Path, capfd: Any) -> None:
    assert flips(sift, 12, capfd) == []


@pytest.mark.slow
def test_many_flipped_bits(sift: Path, capfd: Any) -> None:
    assert flips(sift, FLIPS, capfd) == []


@pytest.mark.slow
def test_many_hot_journals_and_open_writers(sift: Path, capfd: Any) -> None:
    draw, folder = random.Random(0), sift.parent
    failed: list[str] = []
    content = sift.read_bytes()
    for number in range(KILLS):
        sift.write_bytes(content)
        mode = MODES[number % 2]
        with closing(sqlite3.connect(sift)) as connection:
            connection.execute(f"PRAGMA journal_mode = {mode}")
        before = query(sift, POINTS)
        if number % 4 < 2:
            kill_writer(sift, mode, draw.choice([1, 50, 400, 3000]))
            code, errors = import_into(sift, capfd)
            good = code == 0 and query(folder / "sift.db.backup", POINTS) == before
        else:
            with busy(sift, mode):
                code, errors = import_into(sift, capfd)
            good = code == 2 and "is open in another program" in errors and query(sift, POINTS) == before
        if not good:
            failed.append(f"{number}, {mode}: exit {code}, {errors}")
        for name in files(folder):
            if name.startswith(("sift.db", ".sift")):
                (folder / name).unlink()
    with capfd.disabled():
        print(f"databases: {KILLS} hot journals and open writers, {len(failed)} failed")
    assert failed == []
