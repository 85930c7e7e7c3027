"""`astr bench pipeline` on a few small photos: what it prints, and that its floor counts the work there is."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from astr_cli.bench.adaptive import Timed, summarise
from astr_cli.bench.pipeline import choose_pairs
from astr_cli.cli.app import run
from astr_cli.images.charts import is_chart
from astr_cli.matching.resources.stopwatch import Stopwatch
from astr_cli.model.astr import Astr
from astr_cli.model.checkpoint import save_weights
from astr_cli.model.config import PRESETS
from astr_cli.scenes.textures import procedural_textures


@pytest.fixture
def arguments(tmp_path) -> list[str]:
    torch.manual_seed(0)
    weights = tmp_path / "random.safetensors"
    save_weights(weights, Astr(PRESETS["astr-small"]), {})
    pixels = (procedural_textures(1, (96, 160), torch.Generator().manual_seed(1))[0, 0] * 255).byte().numpy()
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(4):
        Image.fromarray(np.ascontiguousarray(pixels[:, 8 * index : 8 * index + 128])).save(photos / f"{index}.png")
    common = ["--weights", str(weights), "--device", "cpu", "--sample", "2"]
    return ["bench", "pipeline", str(photos), *common]


def test_json_has_all_runs_and_the_figures_fit_together(arguments: list[str], capsys) -> None:
    assert run([*arguments, "--max-images", "3", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["machine", "run", "run", "run", "floor", "summary"]
    machine, engine, loop, sift, floor, summary = lines
    assert [line["name"] for line in (engine, loop, sift)] == ["astr match", "one pair at a time", "OpenCV SIFT"]
    assert (engine["pairs"], engine["measured_pairs"], loop["measured_pairs"]) == (3, 3, 2)
    assert (engine["backbone_runs"], loop["backbone_runs"], summary["least_backbone_runs"]) == (3, 6, 3)
    for stage in ("decode", "backbone", "aggregation", "dual softmax", "fine", "write"):
        assert engine["stages"][stage] > 0 or stage == "fine"
    assert 0 < sum(engine["stages"].values()) <= (engine["at_once"] + 2) * engine["seconds"]
    assert engine["host_megabytes"] > 100
    work = 3 * floor["image_gflop"] + 3 * floor["pair_gflop"]
    assert floor["gflop"] == pytest.approx(work)
    assert floor["seconds"] == pytest.approx(
        work / machine["matmul_gflops"] + floor["gigabytes"] / machine["copy_gigabytes"]
    )
    assert summary["over_floor"] == pytest.approx(engine["seconds"] / floor["seconds"])
    share = loop["stages"]["backbone"] / loop["seconds"]
    assert summary["sharing_allows"] == pytest.approx(1 / (1 - share / 2))


def test_tables_say_the_same(arguments: list[str], tmp_path: Path, capsys) -> None:
    assert run([*arguments, "--nearest", "1", "--plots", str(tmp_path / "charts")]) == 0
    out = capsys.readouterr().out
    assert is_chart(tmp_path / "charts" / "pipeline.png")
    for text in ("astr match: 3 pairs in", "one pair at a time: 3 pairs (from 2 measured)", "times the floor", "█"):
        assert text in out
    assert "features computed 4 times for 4 photos" in out


def test_adaptive_is_compared_on_a_sample_of_the_pairs(arguments: list[str], tmp_path: Path, capsys) -> None:
    listed = tmp_path / "pairs.txt"
    listed.write_text("0.png 1.png\n1.png 3.png\n0.png 3.png\n", encoding="utf-8")
    wanted = [*arguments, "--pairs", str(listed), "--adaptive-sample", "2"]
    assert run([*wanted, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["event"] for line in lines} == {"adaptive"}
    assert lines[0]["name"] == "all pairs"
    assert lines[0]["pairs"] == sum(line["pairs"] for line in lines[1:]) == 2
    assert all(line["seconds"] > 0 and line["without_core_seconds"] > 0 for line in lines)
    assert run(wanted) == 0
    assert "--adaptive, all pairs: 2 pairs, " in capsys.readouterr().out
    listed.write_text("0.png gone.png\n", encoding="utf-8")
    assert run(wanted) == 2
    assert "gone.png is not among the photos" in capsys.readouterr().err


def test_runs_fall_into_their_classes_by_the_matches_without_adaptive() -> None:
    few, many = (Timed(10, 4.0, 2.0), Timed(0, 1.0, 0.5)), (Timed(3000, 8.0, 4.0), Timed(2990, 6.0, 3.0))
    everything, hardly, easy = summarise([few, many, few])
    assert (everything.pairs, hardly.pairs, easy.pairs) == (3, 2, 1)
    assert (hardly.seconds, hardly.without_core_seconds, easy.matches) == (1.0, 2.0, 2990)
    assert everything.seconds == pytest.approx(8 / 3) and everything.without_seconds == pytest.approx(16 / 3)


def test_one_photo_is_refused(arguments: list[str], tmp_path, capsys) -> None:
    for index in range(1, 4):
        (tmp_path / "photos" / f"{index}.png").unlink()
    assert run(arguments) == 2
    assert "contains only one photo" in capsys.readouterr().err


def test_pairs() -> None:
    assert len(choose_pairs("abcd", None)) == 6
    assert choose_pairs("abcd", 1) == list(pairwise("abcd"))


def test_backbone_work_is_that_of_its_convolutions() -> None:
    """Counted by hand from the layers' shapes."""
    from astr_cli.bench.least_work import _counter

    model = Astr(PRESETS["astr-small"], folded=True).eval()
    expected = 0

    def count(layer: torch.nn.Conv2d, _: object, out: torch.Tensor) -> None:
        nonlocal expected
        expected += 2 * out.numel() * layer.weight[0].numel()

    for layer in model.backbone.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.inference_mode(), _counter() as counter:
        features = model.extract(torch.rand(1, 1, 64, 96))
    assert counter.get_total_flops() == expected > 0
    with torch.inference_mode(), _counter() as counter:
        model.aggregation.matching(features.coarse8, features.coarse8, None, None, 0).best()
    assert counter.get_total_flops() == 2 * 96 * 96 * 128


def test_stopwatch_counts_nothing_twice() -> None:
    model = Astr(PRESETS["astr-small"]).eval()
    stopwatch = Stopwatch(torch.device("cpu"))
    stopwatch.watch(model)
    with torch.inference_mode(), stopwatch.time("write"):
        features = model.extract(torch.rand(1, 1, 64, 64))
        model.match(features, features)
    seconds = stopwatch.seconds()
    parts = sum(value for stage, value in seconds.items() if stage != "write")
    assert all(value >= 0 for value in seconds.values())
    assert 0.5 * seconds["write"] < parts <= seconds["write"]


def test_photos_larger_than_matched_show_the_refinement_of_tracks(tmp_path: Path, capsys) -> None:
    pixels = (procedural_textures(1, (304, 384), torch.Generator().manual_seed(1))[0, 0] * 255).byte().numpy()
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(3):
        Image.fromarray(pixels[index : 288 + index, 20 * index : 320 + 20 * index]).save(photos / f"{index}.png")
    arguments = ["bench", "pipeline", str(photos), "--device", "cpu", "--sample", "1", "--long-side", "128"]
    assert run([*arguments, "--refine-matches", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = next(line for line in lines if line["event"] == "refinement")
    assert found["images"] == 3 and 0 < found["refined"] < found["keypoints"]
    assert 0 < found["of_matching"] < 2
    engine = next(line for line in lines if line["event"] == "run")
    assert engine["stages"]["refine"] > 0
