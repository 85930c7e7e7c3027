"""Text from files that is JSON, but nested deeper than Python can go."""

import re
from pathlib import Path

import pytest
import torch

import astr_cli
from astr_cli.errors import AstrError
from astr_cli.evaluate.benchmark import EvaluateError
from astr_cli.evaluate.readers.gt_json import read_gt_json
from astr_cli.evaluate.records import read_scores
from astr_cli.model.checkpoint import WeightsError, load_weights, read_tensors, write_tensors
from astr_cli.resources import weights_path
from astr_cli.sfm.reconstruction.summary import read_model_record
from astr_cli.sfm.tracks.statistics import TrackStatistics
from astr_cli.train.checkpoint import CHECKPOINT, read_config
from astr_cli.train.checkpoint import FORMAT as RUN_FORMAT
from astr_cli.train.rgbd import load_rgbd

DEEP = "[" * 100_000 + "]" * 100_000
# These read what another process of astr writes to them, no files.
PIPES = {"doctor/examine.py", "sfm/checks/check.py", "sfm/checks/worker.py", "sfm/mapping/global_mapper.py"}


def test_deep_json_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(DEEP)
    assert read_model_record(tmp_path / "summary.json", "key", tmp_path) is None
    assert TrackStatistics.parse(DEEP) is None


def test_ground_truth_and_scores(tmp_path: Path) -> None:
    (tmp_path / "gt.json").write_text(DEEP)
    with pytest.raises(EvaluateError, match=r"gt.json: cannot be read as JSON \(nested too deeply\)"):
        read_gt_json(tmp_path, "deep")
    with pytest.raises(EvaluateError, match=r"gt.json:1: not a line of JSON"):
        read_scores(tmp_path / "gt.json")


def test_recordings(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "frames.json").write_text(DEEP)
    with pytest.raises(AstrError, match=r"frames.json: not the index .* \(nested too deeply\)"):
        load_rgbd(tmp_path)


def test_weights_and_checkpoints(tmp_path: Path) -> None:
    header, tensors = read_tensors(weights_path("astr-small"))
    write_tensors(tmp_path / "deep.safetensors", header["format"], {**header, "config": DEEP}, tensors)
    with pytest.raises(WeightsError, match="this version does not know its config"):
        load_weights(tmp_path / "deep.safetensors")
    (tmp_path / "raw.safetensors").write_bytes(len(DEEP).to_bytes(8, "little") + DEEP.encode())
    with pytest.raises(WeightsError, match="not a complete safetensors file"):
        load_weights(tmp_path / "raw.safetensors")
    write_tensors(tmp_path / CHECKPOINT, RUN_FORMAT, {"train": DEEP}, {"x": torch.zeros(1)})
    with pytest.raises(AstrError, match="this version does not know its config"):
        read_config(tmp_path)


def test_one_reader_for_all() -> None:
    """files.parse_json, which raises ValueError."""
    root = Path(astr_cli.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"json\.loads?\(", path.read_text(encoding="utf-8"))
    }
    assert found == PIPES | {"files.py"}
