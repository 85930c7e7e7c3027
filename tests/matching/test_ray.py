"""`astr match --ray`: the bytes of a plain run, also when a worker is killed; what is said where Ray is not there."""

import os
import signal
import socket
import subprocess
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


OTHER = """
import ray
ray.__version__ = "2.9.3"  # which the head stores, and which a driver compares with its own
print(ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False).address_info["gcs_address"])
import sys; sys.stdout.flush(); sys.stdin.read()
"""


def test_a_cluster_that_says_another_version(
    scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cluster of this Ray whose head was started under another version number."""
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as head:
        address = head.stdout.readline().strip() if head.stdout else ""
        assert run([*scene.arguments("m.h5"), "--ray", address]) == 2
    python = ".".join(map(str, sys.version_info[:3]))
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"astr: --ray {address}: the cluster has Ray 2.9.3 and Python {python}, but this environment has Ray "
        f"{ray.__version__} and Python {python}; run astr in an environment with those of the cluster (pip install "
        "ray==2.9.3)"
    )
    assert not ray.is_initialized()


def test_an_address_that_does_not_answer(
    scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, while Ray would try for minutes."""
    pytest.importorskip("ray")
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("localhost", 0))
        address = f"localhost:{taken.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        for given in (address, "auto"):
            assert run([*scene.arguments("m.h5"), "--ray", given]) == 2
            said = capsys.readouterr().err
            assert f"--ray {given}: nothing answers at {address} (" in said
            assert said.endswith("; start a cluster with ray start --head, or give the address that it printed\n")
    assert run([*scene.arguments("m.h5"), "--ray", "nonsense"]) == 2
    assert "--ray nonsense: Invalid address format: nonsense; start a cluster" in capsys.readouterr().err


def test_without_ray(scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run([*scene.arguments("m.h5"), "--ray", "auto"]) == 2
    assert "Ray is not installed; install it with pip install 'astr-cli[ray]'" in capsys.readouterr().err
    assert run(["match", "-", "--images", str(scene.root), "--out", str(scene.root / "m.h5"), "--ray", "auto"]) == 2
    assert "workers cannot read standard input" in capsys.readouterr().err


def test_a_run_on_one_machine_is_the_default() -> None:
    assert ClusterOptions().ray is None
