"""Where and how a run computes: the defaults that depend on the device."""

import re
from dataclasses import fields
from typing import NamedTuple

import torch

from astr_cli.matching.resources.cores import split_cores
from astr_cli.model.astr import MatchSettings
from astr_cli.options.matching import EVERY_GPU, MatchingOptions, Precision
from astr_cli.options.option import OptionError


class Compute(NamedTuple):
    """Where and how a run computes: every default filled in."""

    device: torch.device
    precision: Precision
    long_side: int
    batch: int
    jobs: int
    """Batches to process in parallel."""
    threads: int
    """torch's threads for each batch."""


def resolve_compute(options: MatchingOptions) -> Compute:
    """Fills in the defaults that depend on the device; raises OptionError for a device that this machine lacks."""
    device = find_device(options.device)
    gpu = device.type == "cuda"
    split = split_cores(device)
    return Compute(
        device,
        options.precision or default_precision(device),
        options.long_side or (832 if gpu else 640),
        # Turned pairs are matched one by one, as their sizes are not known before.
        1 if options.rotate == "auto" else options.batch or (8 if gpu else 1),
        options.jobs or split.jobs,
        split.threads,
    )


def match_settings(options: MatchingOptions) -> MatchSettings:
    """The options that the model needs."""
    return MatchSettings(**{field.name: getattr(options, field.name) for field in fields(MatchSettings)})


def find_device(name: str) -> torch.device:
    """The device of that name (`auto`: a GPU where there is one); raises OptionError when there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == EVERY_GPU:
        raise OptionError(f"--device {name}: for astr match alone; choose auto, cpu, cuda or cuda:N")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise OptionError(f"--device {name}: choose auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda":
        _check_cuda(device)
    return device


def default_precision(device: torch.device) -> Precision:
    """bf16 where a GPU computes it, fp32 elsewhere."""
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def _check_cuda(device: torch.device) -> None:
    if torch.version.cuda is None:
        raise OptionError(
            f"--device {device}: this PyTorch ({torch.__version__}) is built without CUDA; "
            "install a CUDA build, or leave --device out to run on the CPU"
        )
    if not torch.cuda.is_available():
        raise OptionError(f"--device {device}: no NVIDIA GPU was found; leave --device out to run on the CPU")
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise OptionError(f"--device {device}: no such GPU; choose cuda:0 to cuda:{torch.cuda.device_count() - 1}")
