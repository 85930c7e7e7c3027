"""`--device cuda:all`, by the processes that it uses, on the CPU: the bytes of one run, also when one is killed."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from astr_cli.cli.app import run
from astr_cli.errors import AstrError, Interrupted
from astr_cli.matching.run.devices import match_on_devices
from astr_cli.matching.run.events import Event, PairDone
from astr_cli.matching.run.match import match_pairs


def workers(shards: Path) -> list[int]:
    """The processes that match; the locks of their journals hold their numbers."""
    texts = [lock.read_text() for lock in sorted(shards.glob("*.journal/lock"))]
    return [int(text) for text in texts if text.strip().isdecimal() and int(text) != os.getpid()]


def test_two_devices_one_worker_killed(scene, recorder) -> None:
    match_pairs(scene.options("whole.h5"))
    shards, killed = scene.root / "m.h5.shards", []

    def act(event: Event) -> None:
        if isinstance(event, PairDone) and not killed:
            killed.append(workers(shards)[0])
            os.kill(killed[0], signal.SIGKILL)

    listener = recorder(act)
    summary = match_on_devices(scene.options(jobs=1), ["cpu", "cpu"], listener)
    assert killed
    assert scene.bytes() == scene.bytes("whole.h5")
    assert summary.pairs == 15
    assert summary.images == 6
    assert max(event.finished for event in listener.of(PairDone)) == 15
    assert not shards.exists()
    with pytest.raises(AstrError, match="start over with --overwrite"):
        match_on_devices(scene.options(), ["cpu", "cpu"], listener)


def test_stopped_and_resumed(scene, recorder) -> None:
    match_pairs(scene.options("whole.h5"))
    stopped: list[bool] = []

    def act(event: Event) -> None:
        if isinstance(event, PairDone) and not stopped:
            os.kill(os.getpid(), signal.SIGTERM)
            stopped.append(True)

    listener = recorder(act)
    with pytest.raises(Interrupted, match="run the same command again to resume"):
        match_on_devices(scene.options(jobs=1), ["cpu", "cpu"], listener)
    assert not any(Path(f"/proc/{number}").exists() for number in workers(scene.root / "m.h5.shards"))
    summary = match_on_devices(scene.options(jobs=1), ["cpu"] * 3, recorder())
    assert summary.reused >= 1
    assert scene.bytes() == scene.bytes("whole.h5")


def test_what_is_refused(scene, capsys: pytest.CaptureFixture[str]) -> None:
    if not torch.cuda.is_available():
        assert run(scene.arguments("m.h5", "--device", "cuda:all")) == 2
        assert "--device cuda" in capsys.readouterr().err
    assert run([*scene.arguments("m.h5", "--device", "cuda:all"), "--ray", "auto"]) == 2
    assert "with --ray, give cuda" in capsys.readouterr().err
    with pytest.raises(AstrError, match="make their own shards"):
        match_on_devices(replace(scene.options(), shard="1/2"), ["cpu", "cpu"], print)
    assert run(["plan", *scene.arguments("m.h5", "--device", "cuda:all")[1:2], "--device", "cuda:all"]) == 2
    assert "for astr match alone" in capsys.readouterr().err


def test_one_device_is_a_plain_run(scene, recorder) -> None:
    match_on_devices(scene.options(), ["cpu"], recorder())
    assert match_on_devices(scene.options(), ["cpu"], recorder()).reused == 15
