"""The command: what it refuses, what it takes over from a run, what it holds in memory."""

import dataclasses
import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.model.astr import Astr
from astr_cli.model.checkpoint import read_tensors, write_tensors
from astr_cli.scenes.textures import procedural_textures
from astr_cli.train.checkpoint import CHECKPOINT, FORMAT, resume_run, save_run, start_run
from astr_cli.train.command import TrainRequest, train
from astr_cli.train.config import TrainConfig
from astr_cli.train.scene_mix import RecordingFolders

CPU = torch.device("cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    textures = procedural_textures(6, (160, 200), torch.Generator().manual_seed(5))
    for index, texture in enumerate(textures):
        Image.fromarray((texture[0].numpy() * 255).astype(np.uint8)).save(folder / f"p{index}.png")
    return folder


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run that is at its last step, of a preset that is not the default."""
    folder = tmp_path / "run"
    folder.mkdir()
    config = TrainConfig(preset="astr-small-linear", side=96, batch=1, steps=3, autocast=False)
    state = start_run(config, CPU)
    state.step = 3
    save_run(folder, state, config)
    return folder


def request(photos: Path, resume: Path) -> TrainRequest:
    return TrainRequest(photos, RecordingFolders(), None, resume, None, (), None, 10, "cpu")


def test_a_run_of_any_preset_is_resumed(photos: Path, finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--photos", str(photos), "--resume", str(finished), "--device", "cpu"]
    assert run(command) == 0
    assert "astr-small-linear, step 3 of 3, cpu" in capfd.readouterr().out
    assert resume_run(finished, CPU)[0].step == 3
    assert run([*command, "--preset", "astr"]) == 2
    assert "preset astr-small-linear -> astr" in capfd.readouterr().err


def test_only_the_models_that_are_trained_are_in_memory(photos: Path, finished: Path) -> None:
    """The model and its average."""
    counts: list[int] = []

    def count(line: str) -> None:
        counts.append(models())

    before = models()
    train(request(photos, finished), count)
    assert counts[0] == before + 2


def models() -> int:
    gc.collect()
    return sum(type(each) is Astr for each in gc.get_objects())


def test_a_run_that_would_train_nothing_is_refused(
    photos: Path, finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = finished / "astr-small-linear.safetensors"
    command = ["train", "--photos", str(photos), "--init", str(weights), "--out", str(tmp_path / "new")]
    assert run([*command, "--preset", "astr-small-linear", "--steps", "3", "--device", "cpu"]) == 2
    assert "was trained to step 3, so a run to step 3 would train nothing; give more --steps" in capfd.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("step", ["x", "-1", "1e999", "nan"])
def test_a_header_that_counts_nothing_is_damaged(finished: Path, step: str) -> None:
    header, tensors = read_tensors(finished / CHECKPOINT, FORMAT)
    write_tensors(finished / CHECKPOINT, FORMAT, {**header, "step": step}, tensors)
    with pytest.raises(AstrError, match="its header is damaged"):
        resume_run(finished, CPU)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "mps"])
def test_an_unknown_device_is_bad_usage(
    photos: Path, tmp_path: Path, device: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--photos", str(photos), "--out", str(tmp_path / "new"), "--device", device]) == 2
    assert f"--device {device}: choose auto, cpu, cuda or cuda:N" in capfd.readouterr().err


def test_a_folder_with_a_run_is_not_begun_anew(photos: Path, finished: Path) -> None:
    again = dataclasses.replace(request(photos, finished), resume=None, out=finished)
    with pytest.raises(AstrError, match=f"^{finished}: already contains a run; resume it with --resume {finished}"):
        train(again, print)
    with pytest.raises(AstrError, match="a new run with --out RUN_DIR, or of an existing one"):
        train(dataclasses.replace(again, resume=finished), print)


def test_weights_that_do_not_fit_are_bad_input_for_any_number_of_processes(
    photos: Path, finished: Path, tmp_path: Path
) -> None:
    for processes in (1, 2):
        new = dataclasses.replace(
            request(photos, finished),
            resume=None,
            out=tmp_path / "new",
            init=finished / "astr-small-linear.safetensors",
            changes=(("processes", processes),),
        )
        with pytest.raises(AstrError, match="trained with another config"):
            train(new, print)
    assert not (tmp_path / "new").exists()
