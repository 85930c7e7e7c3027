"""SIGTERM and Ctrl-C: one way for all commands, and never an exception out of the blue."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.cli.sfm_output import stoppable
from astr_cli.errors import Interrupted
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.colmap import verification
from astr_cli.sfm.database import import_steps as work
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping import global_mapper
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings, incremental_mapping
from astr_cli.sfm.mapping.global_mapper import GlobalMapperError, map_globally, map_here
from astr_cli.sfm.mapping.mapper import map_database

from .dying import Driver
from .foreign_databases import files
from .test_kills import reconstruction, state

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")

# A sample at every run of the tests; the whole drive by ASTR_KILLS=200 ASTR_FLIPS=300 and -m slow -s.
STOPS = int(os.environ.get("ASTR_KILLS", "3"))


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


LOADING = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda number, frame: print("heard"))
import astr_cli.sfm.colmap
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
"""


def test_colmap_leaves_signals_to_astr() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard\nalive\n", "")


EARLY = """
import os, signal, sys
from astr_cli.cli.app import main
def hook(event, values):
    if event == "import" and values[0] == "astr_cli.sfm.reconstruction.reconstruct":
        os.kill(os.getpid(), signal.SIGTERM)
sys.addaudithook(hook)
sys.argv[1:] = ["reconstruct", "photos", "--out", "out"]
main()
"""


def test_a_signal_before_the_work_begins_has_the_same_exit_code(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", EARLY], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr, files(tmp_path)) == (130, "", "", [])


@pytest.fixture
def small_database(workplace: Path) -> Path:
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    return workplace / "db.db"


def test_long_calls_of_colmap_end_with_the_flag(small_database: Path, workplace: Path) -> None:
    stop = StopFlag("asked")
    stop.requested = True
    with pytest.raises(Interrupted, match="asked"):
        verification(small_database, -1, 100, 0, stop)
    mapped = workplace / "mapped"
    mapped.mkdir()
    (workplace / "out").mkdir()
    with pytest.raises(Interrupted, match="asked"):
        incremental_mapping(small_database, workplace / "photos", workplace / "out", MapperSettings(stop=stop), False)
    with pytest.raises(Interrupted, match="asked"):
        map_database(small_database, workplace / "photos", mapped, stop=stop)
    assert not any(name.startswith(".mapping") for name in files(mapped))


def test_the_global_mapper_in_another_process_is_the_one_in_this(small_database: Path, workplace: Path) -> None:
    """Up to the order in which COLMAP's threads add numbers: its own two runs differ as much."""
    found = []
    for name, mapper in (("here", map_here), ("there", map_globally)):
        scratch = workplace / name
        scratch.mkdir()
        (model,) = mapper(small_database, workplace / "photos", scratch, MapperSettings(3))
        centres = np.array([model.image(number).projection_center() for number in sorted(model.reg_image_ids())])
        found.append((model.num_points3D(), model.compute_mean_reprojection_error(), centres))
    (points, error, centres), (points2, error2, centres2) = found
    assert points2 == pytest.approx(points, rel=0.01) and error2 == pytest.approx(error, rel=0.01)
    assert centres2.shape == centres.shape == (6, 3)
    assert np.abs(centres2 - centres).max() < 1e-3 * np.abs(centres).max()


def test_a_signal_ends_the_global_mapper(small_database: Path, workplace: Path, monkeypatch: Any) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    with pytest.raises(Interrupted, match="asked"), stoppable("asked") as stop:
        map_database(small_database, workplace / "photos", workplace, MapOptions("global"), stop=stop)
    (process,) = started
    assert process.returncode == -signal.SIGKILL
    assert not any(name.startswith((".mapping", "0")) for name in files(workplace))


def test_the_global_mapper_that_crashes_is_told(small_database: Path, workplace: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(global_mapper, "START", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(GlobalMapperError, match=r"ended \(SIGSEGV\); use --mapper incremental"):
        map_database(small_database, workplace / "photos", workplace, MapOptions("global"))


def test_the_global_mapper_ends_with_the_process_that_waits(small_database: Path, workplace: Path) -> None:
    """Its standard input ends, which it hears whatever COLMAP does."""
    (workplace / "out").mkdir()
    command = [sys.executable, "-c", global_mapper.START, json.dumps(sys.path), str(small_database)]
    command += [str(workplace / "photos"), str(workplace / "out"), "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        process.communicate(timeout=60)
    assert process.returncode == 1
    assert not list((workplace / "out").glob("model-*"))


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


@pytest.mark.slow
def test_many_stops_of_reconstruct(driver: Driver, small: Path) -> None:
    """At places in the code, and at moments in COLMAP's calls."""
    source, whole = small / "matches.h5", small / "whole"
    count = driver.run(source, reconstruction(small, whole)).steps
    draw, failed, ignored = random.Random(0), 0, 0
    for number, step in enumerate(draw.randrange(1, count) for _ in range(STOPS)):
        out = small / f"asked-{number}"
        stopped = driver.run(source, reconstruction(small, out), step, signal.SIGTERM)
        again = driver.run(source, reconstruction(small, out))
        ignored += stopped.returncode == 0
        good = stopped.returncode in (0, 130) and again.returncode == 0 and state(out) == state(whole)
        if not good:
            failed += 1
            print(f"step {step}: exit {stopped.returncode}, {stopped.stderr[-300:]}; then {again.returncode}")
        shutil.rmtree(out)
    print(f"reconstruct: {STOPS} times SIGTERM at {count} places, {ignored} after the last step, {failed} failed")
    assert failed == 0


@pytest.mark.slow
@pytest.mark.skipif("ASTR_KILLS" not in os.environ, reason="depends on the clock: a driver to run by hand")
def test_many_stops_by_the_clock(driver: Driver, small: Path) -> None:
    source, draw, failed = small / "matches.h5", random.Random(1), 0
    codes: list[int] = []
    begin = time.monotonic()
    driver.run(source, reconstruction(small, small / "whole"))
    whole = time.monotonic() - begin
    for number in range(STOPS):
        out = small / f"asked-{number}"
        process = driver.start(source, reconstruction(small, out))
        time.sleep(draw.uniform(0.05, 1) * whole)
        with suppress(ProcessLookupError):  # it was faster than the first one
            os.kill(process, draw.choice([signal.SIGTERM, signal.SIGINT]))
        told = driver.wait()
        # Before the command line runs, Python itself answers a signal.
        early = not out.exists() and told.returncode in (-signal.SIGTERM, -signal.SIGINT, 1, 130)
        again = driver.run(source, reconstruction(small, out))
        codes.append(told.returncode)
        if not (early or told.returncode in (0, 130)) or again.returncode != 0 or state(out) != state(small / "whole"):
            failed += 1
            print(f"{number}: exit {told.returncode}, {told.stderr[-300:]}; then {again.returncode}")
        shutil.rmtree(out)
    print(f"reconstruct: {STOPS} signals at any moment, {codes.count(130)} stopped by them, {failed} failed")
    assert failed == 0
