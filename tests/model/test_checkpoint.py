"""Weights on disk: what was saved comes back, and nothing else is ever accepted."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.model.astr import Astr
from astr_cli.model.checkpoint import (
    FORMAT,
    WeightsError,
    load_for_training,
    load_weights,
    read_tensors,
    save_weights,
    sha256_of,
    write_tensors,
)
from astr_cli.model.config import PRESETS

from .conftest import textured


@pytest.fixture(scope="module")
def trained() -> Astr:
    torch.manual_seed(0)
    model = Astr(PRESETS["astr-small"])
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def weights(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "astr-small.safetensors"
    save_weights(path, trained, {"step": "12", "hours": "0.5"})
    return path


@torch.no_grad()
def test_the_exported_model_computes_the_same(trained, weights):
    loaded = load_weights(weights)
    assert loaded.name == "astr-small"
    assert loaded.header["step"] == "12"
    assert loaded.sha256 == sha256_of(weights)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in loaded.model.modules())
    image = textured(0, 64, 96)
    for a, b in zip(trained.extract(image)[:3], loaded.model.extract(image)[:3], strict=True):
        assert (a - b).abs().max() < 0.01 * a.abs().max()  # fp16 rounding


@torch.no_grad()
def test_training_goes_on_from_an_export(trained, weights):
    model, header = load_for_training(weights, PRESETS["astr-small"])
    assert header["step"] == "12"
    for (name, a), (_, b) in zip(trained.state_dict().items(), model.state_dict().items(), strict=True):
        if a.is_floating_point():
            assert (a - b).abs().max() <= 2e-3 * a.abs().max() + 1e-6, name
    image = torch.rand(2, 1, 64, 64)
    trained.train(), model.train()
    a, b = trained.extract(image).fine, model.extract(image).fine
    trained.eval()
    assert (a - b).abs().max() < 0.02 * a.abs().max()


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_one_changed_byte_is_refused(weights, tmp_path_factory, place, change):
    data = bytearray(weights.read_bytes())
    data[int(place * len(data))] ^= change
    broken = tmp_path_factory.mktemp("broken") / "astr-small.safetensors"
    broken.write_bytes(data)
    with pytest.raises(WeightsError, match=r"astr-small\.safetensors"):
        load_weights(broken)


@pytest.mark.parametrize("place", [0, 3, 8, 9, 20, 60, 200, 1000])
def test_one_changed_byte_of_the_header_is_refused(weights, tmp_path, place):
    data = bytearray(weights.read_bytes())
    data[place] ^= 1
    broken = tmp_path / "w.safetensors"
    broken.write_bytes(data)
    with pytest.raises(WeightsError):
        load_weights(broken)


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(weights, tmp_path, keep):
    data = weights.read_bytes()
    broken = tmp_path / "w.safetensors"
    broken.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(WeightsError, match="not a complete safetensors file"):
        load_weights(broken)


def test_pickles_are_never_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the file was unpickled",))

    old = tmp_path / "old.pth"
    old.write_bytes(pickle.dumps(Trap()))
    zipped = tmp_path / "new.pth"
    torch.save({"weight": torch.zeros(3)}, zipped)
    for path in (old, zipped):
        with pytest.raises(WeightsError, match="pickled"):
            load_weights(path)


def test_another_preset_or_config_is_refused(weights, tmp_path):
    with pytest.raises(WeightsError, match="stem 32 instead of 128"):
        load_for_training(weights, PRESETS["astr"])
    header, tensors = read_tensors(weights)
    path = tmp_path / "w.safetensors"
    write_tensors(path, FORMAT, {**header, "preset": "astr"}, tensors)
    with pytest.raises(WeightsError, match="differs from preset 'astr'"):
        load_weights(path)
    write_tensors(path, FORMAT, {**header, "preset": "astr-huge"}, tensors)
    with pytest.raises(WeightsError, match="preset 'astr-huge'"):
        load_weights(path)
    config = json.loads(header["config"]) | {"wings": 2}
    write_tensors(path, FORMAT, {**header, "config": json.dumps(config)}, tensors)
    with pytest.raises(WeightsError, match="config"):
        load_weights(path)


def test_loading_is_strict(weights, tmp_path):
    header, tensors = read_tensors(weights)
    path = tmp_path / "w.safetensors"
    name = "fine.merge.weight"
    write_tensors(path, FORMAT, header, {k: v for k, v in tensors.items() if k != name})
    with pytest.raises(WeightsError, match=f"misses {name}"):
        load_weights(path)
    write_tensors(path, FORMAT, header, {**tensors, "extra": torch.zeros(1)})
    with pytest.raises(WeightsError, match="unknown extra"):
        load_weights(path)
    write_tensors(path, FORMAT, header, {**tensors, name: torch.zeros(2, 2)})
    with pytest.raises(WeightsError, match="expected"):
        load_weights(path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(tmp_path / "none.safetensors")


def test_a_deeply_nested_config_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, FORMAT, {"preset": "astr-small", "config": "[" * 100_000}, {"a": torch.zeros(1)})
    with pytest.raises(WeightsError, match="does not know its config"):
        load_weights(path)
