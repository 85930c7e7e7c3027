"""`astr match` as a process: killed, stopped, out of disk; then the same command gives an undisturbed run's bytes."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from astr_cli.matching.run.match import match_pairs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}  # threads as here: they are part of what makes bytes equal

# Runs `astr` in a process that kills itself at one exact instant of the final write.
KILL_INSIDE = """
import os, signal, sys
from astr_cli.store.groups import GroupWriter
calls = 0
real_replace, real_create = os.replace, GroupWriter._array
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def create(*given, **named):
    global calls
    calls += 1
    if sys.argv[1] == "writing" and calls == 20:
        die()
    return real_create(*given, **named)
def replace(source, target):
    ours = str(target).endswith("m.h5")
    if ours and sys.argv[1] == "renaming":
        die()
    real_replace(source, target)
    if ours and sys.argv[1] == "removing":
        die()
os.replace, GroupWriter._array = replace, create
from astr_cli.cli.app import run
sys.exit(run(sys.argv[2:]))
"""


# The same with a limit on the size of files, which stands in for a full disk.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from astr_cli.cli.app import run
sys.exit(run(sys.argv[2:]))
"""


def start(scene) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "astr_cli", *scene.arguments(), "--json"]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def pairs_of(process: subprocess.Popen[str]) -> Iterator[int]:
    """Counts the pairs as they are reported, each when its record is in the journal."""
    assert process.stdout is not None
    count = 0
    for line in process.stdout:
        if json.loads(line)["event"] == "pair":
            count += 1
            yield count


def signal_after(scene, count: int, number: signal.Signals) -> tuple[int, str]:
    """Starts a run and sends it a signal after the k-th record: (return code, standard error)."""
    process = start(scene)
    for finished in pairs_of(process):
        if finished == count:
            process.send_signal(number)
            break
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def go_on(scene) -> dict[str, Any]:
    """The same command, to its end: its summary."""
    process = start(scene)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.fixture
def whole(scene) -> bytes:
    match_pairs(scene.options("whole.h5"))
    return scene.bytes("whole.h5")


@pytest.mark.parametrize("count", sorted(random.Random(2023).sample(range(1, 14), 5)))
def test_kill_9_after_a_record(scene, whole: bytes, count: int) -> None:
    code, _ = signal_after(scene, count, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (scene.root / "m.h5").exists()
    summary = go_on(scene)
    assert count <= summary["reused"] < 15
    assert summary["matched"] == 15 - summary["reused"]
    assert scene.bytes() == whole
    assert not scene.journal().exists()


def test_kill_9_and_a_torn_last_record(scene, whole: bytes) -> None:
    signal_after(scene, 6, signal.SIGKILL)
    os.truncate(scene.segment(), scene.segment().stat().st_size - 11)
    summary = go_on(scene)
    assert 5 <= summary["reused"] < 15
    assert scene.bytes() == whole


@pytest.mark.parametrize(("instant", "left"), [("writing", False), ("renaming", False), ("removing", True)])
def test_kill_9_during_the_final_write(scene, whole: bytes, instant: str, left: bool) -> None:
    command = [sys.executable, "-c", KILL_INSIDE, instant, *scene.arguments(), "--quiet"]
    assert subprocess.run(command, env=ENVIRONMENT, timeout=60, check=False).returncode == -signal.SIGKILL
    assert (scene.root / "m.h5").exists() == left
    assert go_on(scene)["reused"] == 15
    assert scene.bytes() == whole
    assert sorted(path.name for path in scene.root.iterdir() if path.name.startswith("m.h5")) == ["m.h5"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_exit_130_and_say_what_goes_on(scene, whole: bytes, number: signal.Signals) -> None:
    code, err = signal_after(scene, 3, number)
    assert code == 130
    assert err.count("\n") == 1
    assert "run the same command again to resume" in err
    assert go_on(scene)["reused"] >= 3
    assert scene.bytes() == whole


def test_reader_that_goes_away_is_no_bug(scene, whole: bytes) -> None:
    process = start(scene)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert "run the same command again to resume" in err
    go_on(scene)
    assert scene.bytes() == whole


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_full_disk_exits_4_and_goes_on(scene, whole: bytes, share: float) -> None:
    """0.3 of the output's size is too little for the journal, 0.9 for the output alone."""
    command = [sys.executable, "-c", LIMITED, str(int(len(whole) * share)), *scene.arguments(), "--quiet"]
    done = subprocess.run(command, env=ENVIRONMENT, timeout=60, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (4, "")
    assert "the disk is full" in done.stderr
    assert done.stderr.count("\n") == 1
    assert go_on(scene)["reused"] > 0
    assert scene.bytes() == whole


def test_peak_memory_at_640_pixels_is_under_two_gigabytes(scene, make_photos) -> None:
    program = (
        "import resource, sys; from astr_cli.cli.app import run; code = run(sys.argv[1:]); "
        "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    from PIL import Image

    for name in scene.names[:2]:
        Image.open(scene.root / name).resize((640, 480)).save(scene.root / name)
    scene.write_pairs(scene.pairs[:1])
    command = [sys.executable, "-c", program, *scene.arguments("m.h5", "--long-side", "640"), "--quiet"]
    done = subprocess.run(command, env=ENVIRONMENT, timeout=300, check=True, capture_output=True, text=True)
    code, peak = map(int, done.stdout.split())
    assert code == 0, done.stderr
    assert peak * (1 if sys.platform == "darwin" else 1024) < 2e9
