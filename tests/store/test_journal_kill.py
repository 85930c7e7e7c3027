"""kill -9 at random instants: nothing that was written is lost, and the result is that of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Appends pair after pair and says so after each; the matches depend on the pair only. Then finishes.
WORKER = """
import sys, time
from pathlib import Path
import numpy as np
from astr_cli.store.run_info import ImageStamp
from astr_cli.store.run_info import RunInfo
from astr_cli.store.journal import Journal
from astr_cli.store.types import PairMatches

names = [f"{i:03d}.jpg" for i in range(40)]
pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1:]]
run = RunInfo((("model", "m"),), tuple(ImageStamp(name, 640, 480, 1, 1) for name in names))
def matches(number):
    generator = np.random.default_rng(number)
    rows = number * 37 % 1500
    points = generator.random((2, rows, 2), np.float32)
    reference = (np.arange(rows) % 2).astype(np.uint8)
    return PairMatches(points[0], points[1], points[0, :, 0].copy(), reference)
with Journal.open(Path(sys.argv[1]), run) as journal:
    print("reused", len(journal.completed()), flush=True)
    done = journal.completed()
    for number, pair in enumerate(pairs):
        if pair not in done:
            journal.append(*pair, matches(number))
            print("done", number, flush=True)
            time.sleep(float(sys.argv[2]))
    print("finishing", flush=True)
    journal.finish(pairs)
    print("finished", flush=True)
"""


def start(output: Path, pause: float = 0.0) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", WORKER, str(output), str(pause)], stdout=subprocess.PIPE, text=True)


def run_and_kill(output: Path, lines: int, delay: float, pause: float = 0.0) -> list[str]:
    """Start the worker and kill it `delay` seconds after it has said `lines` lines; all the lines it has said."""
    process = start(output, pause)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    return [line.strip() for line in said if line.endswith("\n")]


def undisturbed(output: Path) -> bytes:
    process = start(output)
    process.communicate()
    assert process.returncode == 0
    return output.read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_at_random_instants(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path / "whole.h5")
    output = tmp_path / "m.h5"
    generator = random.Random(5)
    written = 0
    for _ in range(6):
        said = run_and_kill(output, generator.randint(1, 60), generator.random() * 0.01, 0.001)
        reused = int(said[0].split()[1])
        assert reused >= written  # every record that was reported before the kill is found
        written = reused + sum(line.startswith("done") for line in said)
    assert 0 < written < 780  # some but not all were done when the last run begins
    assert not output.exists()
    process = start(output)
    said = process.communicate()[0].splitlines()
    assert int(said[0].split()[1]) >= written
    assert output.read_bytes() == expected
    assert not output.with_name("m.h5.journal").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_during_the_final_write(tmp_path: Path) -> None:
    expected = undisturbed(tmp_path / "whole.h5")
    output = tmp_path / "m.h5"
    generator = random.Random(6)
    for _ in range(3):
        first = not output.with_name("m.h5.journal").exists()  # all pairs are still to be appended
        said = run_and_kill(output, 782 if first else 2, generator.random() * 0.8)
        assert "finishing" in said
        assert not output.exists() or output.read_bytes() == expected
    assert undisturbed(output) == expected
    assert {path.name for path in tmp_path.iterdir()} == {"whole.h5", "m.h5"}
