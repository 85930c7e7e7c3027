"""The folder of a run: config, log, and checkpoints that are never half written."""

import csv
import math
import os
from pathlib import Path

import torch
from torch import Tensor

from astr_cli.errors import AstrError
from astr_cli.files import APPEND, open_own
from astr_cli.model.astr import Astr
from astr_cli.model.checkpoint import config_difference, load_for_training, read_tensors, save_weights, write_tensors
from astr_cli.model.config import PRESETS
from astr_cli.train.config import TrainConfig
from astr_cli.train.loop import StepReport, TrainState, fresh_state

FORMAT = "astr-run-1"
CHECKPOINT = "checkpoint.safetensors"
LOG = "log.csv"


def save_run(folder: Path, state: TrainState, config: TrainConfig) -> None:
    """Write the exact state to folder/checkpoint.safetensors and the exported average to folder/PRESET.safetensors."""
    tensors: dict[str, Tensor] = {}
    for prefix, model in (("model.", state.model), ("average.", state.average)):
        tensors.update({prefix + name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()})
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{key}": value.cpu().contiguous() for key, value in moments.items()})
    header = {
        "train": config.to_json(),
        "step": str(state.step),
        "warm": str(state.warm),
        "pairs": str(state.pairs),
        "hours": repr(state.hours),
    }
    write_tensors(folder / CHECKPOINT, FORMAT, header, tensors)
    save_weights(folder / f"{config.preset}.safetensors", state.average, export_header(state, config))


def export_header(state: TrainState, config: TrainConfig) -> dict[str, str]:
    """The training data in the header of an exported file."""
    return {
        "step": str(state.step),
        "pairs": str(state.pairs),
        "hours": f"{state.hours:.3f}",
        "train": config.to_json(),
    }


def read_config(folder: Path) -> TrainConfig:
    """The config of a run. Raises AstrError if there is no checkpoint or it is damaged."""
    return _config(folder / CHECKPOINT, _read(folder)[0])


def resume_run(folder: Path, device: torch.device) -> tuple[TrainState, TrainConfig]:
    """Read the exact state of a run. Raises AstrError if the checkpoint is damaged or belongs to another model."""
    path = folder / CHECKPOINT
    header, tensors = _read(folder)
    config = _config(path, header)
    model = Astr(PRESETS[config.preset], folded=config.frozen_norm).to(device)
    state = fresh_state(model, config)
    state.average.to(device)
    _load(path, model, tensors, "model.")
    _load(path, state.average, tensors, "average.")
    packed = state.optimizer.state_dict()
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = tensor
    packed["state"] = moments
    state.optimizer.load_state_dict(packed)
    numbers = _numbers(path, header, ("step", "warm", "pairs", "hours"))
    state.step, state.warm, state.pairs = (int(number) for number in numbers[:3])
    state.hours = numbers[3]
    return state, config


def start_run(config: TrainConfig, device: torch.device, init: Path | None = None) -> TrainState:
    """A new state: from scratch, or from exported weights (their step, a fresh optimizer, a short warm-up).

    Raises AstrError: weights that do not fit, or whose step is the config's last one or a later one.
    """
    if init is None and config.frozen_norm:
        raise AstrError("frozen_norm=true: a new model has no trained BatchNorm; give trained weights with --init")
    if init is None:
        torch.manual_seed(config.seed)
        return fresh_state(Astr(PRESETS[config.preset]).to(device), config)
    model, header = load_for_training(init, PRESETS[config.preset], config.frozen_norm)
    step, pairs, hours = _numbers(init, header, ("step", "pairs", "hours"))
    if step >= config.steps:
        raise AstrError(
            f"{init}: was trained to step {step:.0f}, so a run to step {config.steps} would train nothing; give more "
            "--steps"
        )
    state = fresh_state(model.to(device), config, int(step), int(pairs), hours)
    state.average.to(device)
    return state


class Log:
    """Appends one row per report to folder/log.csv."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def append(self, report: StepReport) -> None:
        """Write one row, with a header before the first."""
        rounds = [f"inside{index + 1}" for index in range(len(report.inside))]
        names = [name for name in report._fields if name != "inside"] + rounds
        values = [getattr(report, name) for name in report._fields if name != "inside"] + list(report.inside)
        new = not self.path.exists()
        try:
            with os.fdopen(open_own(self.path, APPEND), "a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(names)
                writer.writerow([value if isinstance(value, int) else f"{value:.6g}" for value in values])
        except OSError as error:
            error.filename = str(self.path)
            raise


def _read(folder: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    path = folder / CHECKPOINT
    if not path.exists():
        raise AstrError(f"{folder}: contains no {CHECKPOINT}; give a folder written by `astr train --out`")
    return read_tensors(path, FORMAT)


def _config(path: Path, header: dict[str, str]) -> TrainConfig:
    try:
        return TrainConfig.from_json(header["train"])
    except (KeyError, TypeError, ValueError):
        raise AstrError(f"{path}: this version does not know its config; update astr") from None


def _numbers(path: Path, header: dict[str, str], names: tuple[str, ...]) -> list[float]:
    """Numbers of a header; 0 where one is missing. Raises AstrError for anything that counts nothing."""
    try:
        numbers = [float(header.get(name, 0)) for name in names]
    except ValueError:
        numbers = [math.nan]
    if not all(0 <= number < math.inf for number in numbers):
        raise AstrError(f"{path}: its header is damaged ({', '.join(names)}); use another file")
    return numbers


def _load(path: Path, model: Astr, tensors: dict[str, Tensor], prefix: str) -> None:
    state = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    missing = sorted(model.state_dict().keys() ^ state.keys())
    if missing:
        preset = PRESETS[model.config.preset]
        difference = config_difference(model.config, preset) or f"{missing[0]} is not in both"
        raise AstrError(f"{path}: checkpoint of another model ({difference}); use its --preset")
    model.load_state_dict(state)
