"""SIGTERM and Ctrl-C: one way for all commands, and never an exception out of the blue."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.app import run
from astr_cli.cli.sfm_output import stoppable
from astr_cli.errors import Interrupted
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.sfm.colmap import MapperSettings, incremental_mapping, verification
from astr_cli.sfm.database import importing as work
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.mapper import map_database

from .foreign_databases import files
from .test_kills import DYING, dying, reconstruction, state

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")

# A sample at every run of the tests; the whole drive by ASTR_KILLS=200 ASTR_FLIPS=300 and -m slow -s.
STOPS = int(os.environ.get("ASTR_KILLS", "3"))
# As in test_kills, but with a signal that asks.
ASKED = DYING.replace("signal.SIGKILL", "signal.SIGTERM")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_flag_that_the_next_step_sees(number: signal.Signals, capfd: Any) -> None:
    done = []
    with pytest.raises(Interrupted, match="it: stopped"), stoppable("it: stopped") as stop:
        stop.check()
        signal.raise_signal(number)
        done.append("the step at hand")
        stop.check()
        done.append("the next one")
    assert done == ["the step at hand"]
    assert f"{number.name}: stopping after this step" in capfd.readouterr().err


def test_long_calls_of_colmap_end_with_the_flag(workplace: Path, scene: Any) -> None:
    database = workplace / "db.db"
    import_matches(ImportOptions(database, cameras=CameraOptions("single")))
    stop = StopFlag("asked")
    stop.requested = True
    with pytest.raises(Interrupted, match="asked"):
        verification(database, -1, 100, 0, stop)
    mapped = workplace / "mapped"
    mapped.mkdir()
    (workplace / "out").mkdir()
    with pytest.raises(Interrupted, match="asked"):
        incremental_mapping(database, workplace / "photos", workplace / "out", MapperSettings(stop=stop), False)
    with pytest.raises(Interrupted, match="asked"):
        map_database(database, workplace / "photos", mapped, stop=stop)
    assert not any(name.startswith(".mapping") for name in files(mapped))


def test_an_import_that_is_asked_to_stop_resumes(sift: Path, workplace: Path, monkeypatch: Any, capfd: Any) -> None:
    """The signal comes while matches are written; verification then does not begin."""
    content = sift.read_bytes()
    written: list[Any] = []
    fill = work.write_points

    def asked(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        written.append(fill(*arguments))

    monkeypatch.setattr(work, "write_points", asked)
    assert run(["colmap-import", str(sift)]) == 130
    assert "it is unchanged; run the same command again to resume" in capfd.readouterr().err
    assert sift.read_bytes() == content and len(written) == 1
    assert run(["colmap-import", str(sift), "-q"]) == 0
    assert len(written) == 1
    assert files(workplace) == ["matches.h5", "photos", "sift.db", "sift.db.backup"]


@pytest.mark.parametrize("command", [["export", "MATCHES", "--out", "OUT"], ["pairs", "exhaustive", "PHOTOS"]])
def test_export_and_pairs_write_nothing(command: list[str], workplace: Path, monkeypatch: Any, capfd: Any) -> None:
    from astr_cli.sfm.exports import export
    from astr_cli.sfm.pairs import generators

    def asking(original: Any) -> Any:
        def step(*arguments: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            return original(*arguments)

        return step

    monkeypatch.setattr(export, "read_tracked", asking(export.read_tracked))
    monkeypatch.setattr(generators, "exhaustive", asking(generators.exhaustive))
    places = {"MATCHES": workplace / "matches.h5", "OUT": workplace / "out", "PHOTOS": workplace / "photos"}
    before = files(workplace)
    assert run([str(places.get(word, word)) for word in command]) == 130
    said = capfd.readouterr()
    assert said.out == "" and "stopped; nothing was written" in said.err
    assert files(workplace) == before


def asked(limit: int, source: Path, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    arguments = [sys.executable, "-c", ASKED, str(limit), str(source), *command]
    return subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_many_stops_of_reconstruct(workplace: Path) -> None:
    """At places in the code, and at moments in COLMAP's calls."""
    source, whole = workplace / "matches.h5", workplace / "whole"
    done = dying(0, source, reconstruction(workplace, whole))
    count, draw, failed, ignored = int(done.stdout.split()[-1]), random.Random(0), 0, 0
    for step in [draw.randrange(1, count) for _ in range(STOPS)]:
        out = workplace / f"asked-{step}"
        stopped = asked(step, source, reconstruction(workplace, out))
        again = dying(0, source, reconstruction(workplace, out))
        ignored += stopped.returncode == 0
        good = stopped.returncode in (0, 130) and again.returncode == 0 and state(out) == state(whole)
        if not good:
            failed += 1
            print(f"step {step}: exit {stopped.returncode}, {stopped.stderr[-300:]}; then {again.returncode}")
    print(f"reconstruct: {STOPS} times SIGTERM at {count} places, {ignored} after the last step, {failed} failed")
    assert failed == 0


@pytest.mark.slow
@pytest.mark.skipif("ASTR_KILLS" not in os.environ, reason="depends on the clock: a driver to run by hand")
def test_many_stops_by_the_clock(workplace: Path) -> None:
    source, draw, failed = workplace / "matches.h5", random.Random(1), 0
    begin = time.monotonic()
    dying(0, source, reconstruction(workplace, workplace / "whole"))
    whole = time.monotonic() - begin
    for number in range(STOPS):
        out = workplace / f"asked-{number}"
        command = [sys.executable, "-c", DYING, "0", str(source), *reconstruction(workplace, out)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(draw.uniform(0.3, 1) * whole)
            process.send_signal(draw.choice([signal.SIGTERM, signal.SIGINT]))
            told = process.communicate(timeout=300)[1]
        again = dying(0, source, reconstruction(workplace, out))
        # Before the command line runs, Python itself answers a signal.
        early = not out.exists() and process.returncode in (-signal.SIGTERM, -signal.SIGINT, 1, 130)
        if not (early or process.returncode in (0, 130)) or again.returncode != 0:
            failed += 1
            print(f"{number}: exit {process.returncode}, {told[-300:]}; then {again.returncode}")
    print(f"reconstruct: {STOPS} signals at any moment, {failed} failed")
    assert failed == 0
