"""Weights on disk: safetensors only, nothing is ever unpickled, every byte is under a checksum.

An exported file (docs/model.md, Weights) holds the folded network (fp16; norms, biases of folded norms and temperatures
in fp32), and for each folded convolution the numbers to unfold it again when training resumes from it. The header
holds the config, the training position and a checksum over all of it.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from astr_cli.errors import AstrError
from astr_cli.files import parse_json, write_whole
from astr_cli.model.astr import Astr
from astr_cli.model.config import PRESETS, AstrConfig
from astr_cli.model.layers import ConvNorm

FORMAT = "astr-weights-1"
UNFOLD = ".unfold"


class WeightsError(AstrError):
    """A weights file cannot be used; the message says which file and why."""


class LoadedWeights(NamedTuple):
    """A model ready to match, and where it came from."""

    model: Astr  # eval mode, float32, on the CPU
    sha256: str  # of the whole file
    name: str  # the file's stem
    header: dict[str, str]


def load_weights(path: Path) -> LoadedWeights:
    """Read an exported file for inference. Raises WeightsError with the reason when anything differs."""
    path = Path(path)
    header, tensors = read_tensors(path)
    config = header_config(path, header)
    model = Astr(config, folded=True)
    folded = {name: tensor.float() for name, tensor in tensors.items() if not name.endswith(UNFOLD)}
    _load_strict(path, model, folded)
    return LoadedWeights(model.eval(), sha256_of(path), path.stem, header)


def load_for_training(path: Path, config: AstrConfig, folded: bool = False) -> tuple[Astr, dict[str, str]]:
    """Read an exported file to train on, as it is (`folded`) or back into a model with BatchNorm.

    Raises WeightsError on another config, and for a folded network that cannot be unfolded.
    """
    header, tensors = read_tensors(path)
    differences = config_difference(header_config(path, header), config)
    if differences:
        raise WeightsError(f"{path}: trained with another config: {differences}; use weights of the same preset")
    model = Astr(config, folded)
    state = {name: tensor.float() for name, tensor in tensors.items() if not name.endswith(UNFOLD)}
    for name, module in model.named_modules():
        if isinstance(module, ConvNorm) and module.norm is not None:
            if name + UNFOLD not in tensors:
                raise WeightsError(f"{path}: trained with BatchNorm folded; train it with --set frozen_norm=true")
            _unfold(state, name, tensors[name + UNFOLD], module.norm.eps)
    _load_strict(path, model, state)
    return model, header


def save_weights(path: Path, model: Astr, header: dict[str, str] | None = None) -> None:
    """Export a model: folded, rounded to fp16, with `header` (step, hours, ...) beside the config. Atomic."""
    tensors: dict[str, Tensor] = {}
    state = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    for name, module in model.named_modules():
        if isinstance(module, ConvNorm) and module.norm is not None:
            _fold(state, name, module.norm.eps)
    for name, tensor in state.items():
        keep = name.endswith((UNFOLD, "log_temperature")) or tensor.ndim < 2
        tensors[name] = tensor.contiguous() if keep else tensor.half().contiguous()
    write_tensors(
        path, FORMAT, {"preset": model.config.preset, "config": config_json(model.config), **(header or {})}, tensors
    )


def write_tensors(path: Path, file_format: str, header: dict[str, str], tensors: dict[str, Tensor]) -> None:
    """Write a checksummed safetensors file; a kill at any instant leaves the old file or the new one, whole."""
    metadata = {"format": file_format, **header}
    metadata["checksum"] = checksum(metadata, tensors)
    write_whole(path, save(tensors, metadata=metadata))


def read_tensors(path: Path, file_format: str = FORMAT) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a file whose checksum holds. Raises WeightsError."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    # safetensors starts with eight bytes of length, of any value, and a brace.
    if (start[:2] == b"PK" or start[:1] == b"\x80") and start[8:] != b"{":
        raise WeightsError(f"{path}: a pickled checkpoint, which astr never opens; use a safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: not a complete safetensors file ({error}); download it again") from None
    if header.get("format") != file_format:
        raise WeightsError(f"{path}: expected format {file_format}, found {header.get('format')}; use astr's weights")
    if header.get("checksum") != checksum(header, tensors):
        raise WeightsError(f"{path}: damaged, as the checksum does not match its content; download it again")
    return header, tensors


def header_config(path: Path, header: dict[str, str]) -> AstrConfig:
    """The config a file was trained with; WeightsError when this version has no such preset."""
    preset = header.get("preset", "")
    if preset not in PRESETS:
        raise WeightsError(f"{path}: trained for preset '{preset}', this version has {', '.join(PRESETS)}; update astr")
    try:
        stored = parse_json(header["config"])
        stored["stages"] = tuple(stored["stages"])
        config = AstrConfig(**stored)
    except (KeyError, TypeError, ValueError):
        raise WeightsError(f"{path}: this version does not know its config; update astr") from None
    differences = config_difference(config, PRESETS[preset])
    if differences:
        raise WeightsError(f"{path}: its config differs from preset '{preset}' ({differences}); use another version")
    return config


def config_json(config: AstrConfig) -> str:
    """The config as canonical JSON."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def config_difference(found: AstrConfig, expected: AstrConfig) -> str:
    """'stem 32 instead of 128, ...', empty when equal."""
    pairs = ((f.name, getattr(found, f.name), getattr(expected, f.name)) for f in dataclasses.fields(AstrConfig))
    return ", ".join(f"{name} {a} instead of {b}" for name, a, b in pairs if a != b)


def checksum(header: dict[str, str], tensors: dict[str, Tensor]) -> str:
    """SHA-256 over everything in a file except the checksum itself."""
    digest = hashlib.sha256()
    digest.update(json.dumps({k: v for k, v in header.items() if k != "checksum"}, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _hash(file.read())
        )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _fold(state: dict[str, Tensor], name: str, eps: float) -> None:
    """Turn convolution + BatchNorm `name` of a state dict into one convolution with bias, and the way back."""
    gamma, beta = state.pop(f"{name}.norm.weight"), state.pop(f"{name}.norm.bias")
    mean, variance = state.pop(f"{name}.norm.running_mean"), state.pop(f"{name}.norm.running_var")
    state.pop(f"{name}.norm.num_batches_tracked")
    scale = gamma / (variance + eps).sqrt()
    state[f"{name}.conv.weight"] = state[f"{name}.conv.weight"] * scale[:, None, None, None]
    state[f"{name}.conv.bias"] = beta - mean * scale
    state[name + UNFOLD] = torch.stack([gamma, mean, variance])


def _unfold(state: dict[str, Tensor], name: str, stored: Tensor, eps: float) -> None:
    """The inverse of `_fold`, up to the rounding of the file."""
    gamma, mean, variance = stored.float()
    scale = gamma / (variance + eps).sqrt()
    safe = torch.where(scale.abs() < 1e-8, 1e-8, scale)
    state[f"{name}.conv.weight"] = state[f"{name}.conv.weight"] / safe[:, None, None, None]
    state[f"{name}.norm.weight"] = gamma
    state[f"{name}.norm.bias"] = state.pop(f"{name}.conv.bias") + mean * scale
    state[f"{name}.norm.running_mean"] = mean
    state[f"{name}.norm.running_var"] = variance
    state[f"{name}.norm.num_batches_tracked"] = torch.tensor(0)


def _load_strict(path: Path, model: nn.Module, state: dict[str, Tensor]) -> None:
    expected = model.state_dict()
    missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or extra:
        first = f"misses {missing[0]}" if missing else f"holds an unknown {extra[0]}"
        raise WeightsError(
            f"{path}: does not fit its preset: it {first} ({len(missing)} missing, {len(extra)} unknown)"
        )
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise WeightsError(f"{path}: {name} is {tuple(state[name].shape)}, expected {tuple(tensor.shape)}")
    model.load_state_dict(state)
