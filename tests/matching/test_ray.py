"""`astr match --ray`: the bytes of a plain run, also when a worker is killed; what is said where Ray is not there."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from astr_cli.cli.app import run
from astr_cli.matching.run.match import match_pairs
from astr_cli.options.cluster import ClusterOptions


def kill_a_worker(shards: Path, killed: list[int]) -> None:
    """Kills the process of the first shard that has matched something; the lock of its journal holds its number."""
    for _ in range(6000):
        for segment in shards.glob("*.journal/*.seg"):
            text = segment.with_name("lock").read_text() if segment.stat().st_size else ""
            if text.strip().isdecimal() and int(text) != os.getpid():
                os.kill(int(text), signal.SIGKILL)
                killed.append(int(text))
                return
        time.sleep(0.05)


def test_two_workers_one_of_them_killed(scene, capsys: pytest.CaptureFixture[str]) -> None:
    ray = pytest.importorskip("ray")
    match_pairs(scene.options("whole.h5"))
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    killed: list[int] = []
    thread = threading.Thread(target=kill_a_worker, args=(scene.root / "m.h5.shards", killed))
    thread.start()
    try:
        assert run([*scene.arguments("m.h5"), "--ray", "local", "--shards", "3", "--jobs", "1"]) == 0
    finally:
        thread.join()
        ray.shutdown()
    assert killed
    assert scene.bytes() == scene.bytes("whole.h5")
    assert "15 pairs" in capsys.readouterr().out
    assert not (scene.root / "m.h5.shards").exists()
    assert run([*scene.arguments("m.h5"), "--ray", "local"]) == 2
    assert "start over with --overwrite" in capsys.readouterr().err


def test_without_ray(scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run([*scene.arguments("m.h5"), "--ray", "auto"]) == 2
    assert "Ray is not installed; install it with pip install 'astr-cli[ray]'" in capsys.readouterr().err
    assert run(["match", "-", "--images", str(scene.root), "--out", str(scene.root / "m.h5"), "--ray", "auto"]) == 2
    assert "workers cannot read standard input" in capsys.readouterr().err


def test_a_run_on_one_machine_is_the_default() -> None:
    assert ClusterOptions().ray is None
