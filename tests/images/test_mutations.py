"""Mutated photos of five formats, in child processes with limits: each is read, or refused by one line."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

WORKER = Path(__file__).with_name("mutation_worker.py")
# A sample at every run of the tests; the whole drive by ASTR_MUTATIONS=2000 and -m slow -s.
MUTATIONS = int(os.environ.get("ASTR_MUTATIONS", "60"))
BATCH = 250  # photos per process
ROOM = 2 << 30  # bytes more than a sound run takes
SECONDS = 60  # for one photo


class Tried(NamedTuple):
    """The results of a run."""

    read: int
    refused: int
    failed: list[str]


def try_mutations(folder: Path, count: int, seed: int = 1) -> Tried:
    """Reads `count` mutated photos; a process that dies is started again with the next seed."""
    read = refused = done = 0
    failed: list[str] = []
    while done < count:
        asked = min(BATCH, count - done)
        command = [sys.executable, str(WORKER), str(folder), str(seed), str(asked), str(ROOM), str(SECONDS)]
        found = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS * asked, check=False)
        lines = found.stdout.splitlines()
        end = re.fullmatch(r"done (\d+) (\d+)", lines[-1]) if lines else None
        if found.returncode == 0 and end is not None:
            read, refused, done = read + int(end[1]), refused + int(end[2]), done + asked
        else:
            why = (found.stderr.strip().splitlines() or [""])[-1]
            failed.append(f"seed {seed}, photo {lines[-1] if lines else 'none'}: ended with {found.returncode}: {why}")
            done += max(1, len(lines))
        seed += 1
    return Tried(read, refused, failed)


def check(folder: Path, count: int) -> None:
    found = try_mutations(folder, count)
    print(f"{count} mutated photos: {found.read} read, {found.refused} refused, {len(found.failed)} failed")
    assert found.failed == []
    # Without both, the mutations would be too weak or too strong to tell anything.
    assert found.read + found.refused == count and min(found.read, found.refused) >= count // 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by RLIMIT_AS")
def test_mutated_photos_are_read_or_refused(tmp_path: Path) -> None:
    check(tmp_path, MUTATIONS)


def test_a_process_that_dies_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("import os\nprint('0 PNG', flush=True)\nos.kill(os.getpid(), 11)\n")
    monkeypatch.setitem(globals(), "WORKER", worker)
    found = try_mutations(tmp_path, 2)
    assert (found.read, found.refused) == (0, 0)
    assert [line.partition(":")[0] for line in found.failed] == ["seed 1, photo 0 PNG", "seed 2, photo 0 PNG"]
