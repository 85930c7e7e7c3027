"""`astr plan`: what it says is what a run then does."""

import json
import re
import signal

import pytest

from astr_cli.cli.app import run
from astr_cli.errors import Interrupted, Stopped
from astr_cli.matching.photos.geometry import photo_geometry
from astr_cli.matching.run.events import Event, PairDone, Started, StopRequested
from astr_cli.matching.run.feature_cache import feature_bytes
from astr_cli.matching.run.forecast import Forecast, forecast, sampled, view_bytes
from astr_cli.matching.run.match import match_pairs
from astr_cli.matching.run.plan import PairBatch
from astr_cli.model.astr import Astr
from astr_cli.model.config import PRESETS
from astr_cli.pairs.reading import Pair


@pytest.mark.parametrize("memory", [0, 400_000, 900_000, 10_000_000])
def test_backbone_runs_are_those_of_the_run(scene, memory: int) -> None:
    found = forecast(scene.options(memory=memory), 0)
    summary = match_pairs(scene.options(memory=memory))
    assert (found.images, found.pairs, found.backbone_runs) == (6, 15, summary.cache_misses)
    assert found.cache_bytes == memory
    assert (found.seconds, found.measured_pairs) == (None, 0)


@pytest.mark.parametrize(
    ("preset", "side", "height", "adaptive"),
    [("astr", 160, 96, False), ("astr-small", 160, 96, True), ("astr-small", 544, 256, True)],
)
def test_bytes_of_features(preset: str, side: int, height: int, adaptive: bool) -> None:
    import torch

    view = photo_geometry((side, height), side, None)
    with torch.inference_mode():
        features = Astr(PRESETS[preset]).extract(torch.rand(1, 1, height, side), adaptive=adaptive)
    assert view_bytes(view, PRESETS[preset], adaptive=adaptive) == feature_bytes(features)
    assert (features.small is not None) == (side == 544)


def test_a_look_at_the_first_pairs_leaves_nothing_behind(scene) -> None:
    before = sorted(scene.root.rglob("*"))
    found = forecast(scene.options(jobs=2), 4)
    assert sorted(scene.root.rglob("*")) == before
    assert found.measured_pairs == 4
    assert found.seconds is not None
    assert found.seconds_a_pair is not None
    assert found.seconds == pytest.approx(15 * found.seconds_a_pair)
    match_pairs(scene.options())
    written = (scene.root / "m.h5").stat().st_size
    assert 0.3 * written < found.disk_bytes / 2 < 3 * written


def test_a_batch_of_several_pairs_takes_its_time(scene) -> None:
    """The pairs of a batch are done at the same instant."""
    alone = forecast(scene.options(batch=1, jobs=1), 4)
    found = forecast(scene.options(batch=8, jobs=1), 5)
    assert found.measured_pairs == 15
    assert alone.seconds_a_pair is not None and found.seconds_a_pair is not None
    assert found.seconds_a_pair > 0.05 * alone.seconds_a_pair
    assert forecast(scene.options(batch=16, jobs=3), 1).seconds_a_pair > 0.05 * alone.seconds_a_pair


def test_a_sample_is_whole_rounds_of_the_lanes() -> None:
    pairs = [Pair(f"a{index}", f"b{index}", index) for index in range(100)]
    plan = [PairBatch(tuple(pairs[start : start + 8])) for start in range(0, 100, 8)]
    counts = {(8, 1): 2, (17, 1): 3, (5, 2): 4, (40, 2): 6, (1, 4): 8, (90, 4): 12, (100, 4): 13, (0, 2): 0}
    for (wanted, jobs), count in counts.items():
        assert sampled(plan, wanted, jobs) == plan[:count]


def test_the_command(scene, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", *scene.arguments()[1:2], *scene.arguments()[4:6], "--long-side", "96", "--device", "cpu"]
    assert run([*arguments, "--sample", "3"]) == 0
    out = capsys.readouterr().out
    assert "6 photos, 15 pairs; focal length known for 0 photos" in out
    assert "features computed 6 times for 6 photos" in out
    assert re.search(r"output: \d+ kB on disk, including temporary files", out)
    assert re.search(r"time: \d+\.\d\d s per pair, about \d+ s in total", out)
    # What changes a run's time or its output changes the forecast.
    sizes = []
    for more in (["--threshold", "0.9"], ["--threshold", "0", "--scaling", "off", "--workers", "1"]):
        assert run([*arguments, "--sample", "3", "--json", *more]) == 0
        sizes.append(json.loads(capsys.readouterr().out)["disk_bytes"])
    assert sizes[0] < sizes[1]
    assert run([*arguments, "--sample", "0"]) == 0
    out = capsys.readouterr().out
    assert "output: up to " in out and "time: not measured" in out
    assert run([*arguments, "--sample", "0", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record.pop("event") == "plan"
    assert Forecast(**record).pairs == 15


@pytest.mark.parametrize("total", [1, 8])
def test_stopping_it_promises_nothing(scene, recorder, total: int) -> None:
    """Also while the one pair is matched that only warms up."""

    def stop(event: Event) -> None:
        if isinstance(event, PairDone) and event.total == total:
            signal.raise_signal(signal.SIGINT)

    listener = recorder(stop)
    with pytest.raises(Interrupted) as caught:
        forecast(scene.options(jobs=1), 8, listener)
    assert str(caught.value) == "the timing sample: stopped; its matches are discarded"
    assert [event.signal for event in listener.of(StopRequested)] == ["SIGINT"]


def test_a_full_disk_promises_nothing_either(scene) -> None:
    def fill(event: Event) -> None:
        if isinstance(event, PairDone):
            raise Stopped("m.h5: the disk is full; free some space and run the same command again to resume")

    with pytest.raises(Stopped, match=r"^m\.h5: the disk is full; the matches of the timing sample are discarded$"):
        forecast(scene.options(), 1, fill)


def test_what_a_run_would_refuse_is_refused(scene, capsys: pytest.CaptureFixture[str]) -> None:
    (scene.root / scene.names[2]).unlink()
    assert run(["plan", str(scene.root / "pairs.txt")]) == 2
    assert scene.names[2] in capsys.readouterr().err


def test_a_run_expects_no_less_disk_than_easy_pairs_take(scene, recorder) -> None:
    """Easy pairs match in 60% of the cells: plan, when it has measured such, and match say about the same."""
    heard = recorder()
    match_pairs(scene.options(), heard)
    expected = heard.of(Started)[0].disk_bytes
    assert expected == forecast(scene.options(), 0).disk_bytes
    cells = 96 * 64 // 64
    assert expected == pytest.approx(2 * 15 * (2 * 0.6 * cells * 21 + 3000), rel=0.3)
