"""Where astr can compute: cores, GPUs, memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

from astr_cli.doctor.finding import Finding, explained, note, ok, problem

LITTLE = 2_000_000_000  # bytes; less is enough for small photos only
START_PAGE = "pytorch.org, Get started"


def check_cpu() -> Iterator[Finding]:
    """Cores, and how many of them torch uses."""
    import torch

    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    yield ok("CPU", f"{cores} cores, of which torch uses {threads}")


def check_memory() -> Iterator[Finding]:
    """RAM that is free."""
    from astr_cli.matching.resources.memory import free_host_bytes

    free = free_host_bytes()
    text = f"{_gigabytes(free)} of RAM are free"
    if free < LITTLE:
        yield note("memory", text, "Close other programs, or lower --long-side, --jobs and --memory.")
    else:
        yield ok("memory", text)


def check_gpu() -> Iterator[Finding]:
    """Every GPU that torch finds; without one, what stands in the way of the driver's GPUs."""
    import torch

    seen = driver_gpus()
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            yield _check_gpu(number, seen)
    elif seen:
        yield without_torch(seen, torch.version.cuda, os.environ.get("CUDA_VISIBLE_DEVICES"))
    else:
        yield ok("GPU", "no NVIDIA GPU; astr computes on the CPU")


def driver_gpus() -> list[str]:
    """`NAME, driver VERSION` of each GPU that NVIDIA's driver knows; empty where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip().replace(", ", ", driver ") for line in done.stdout.splitlines() if line.strip()]


def without_torch(seen: list[str], built_for: str | None, visible: str | None) -> Finding:
    """GPUs that the driver knows and torch does not use; built_for: torch's CUDA; visible: CUDA_VISIBLE_DEVICES."""
    gpu = seen[0]
    if built_for is None:
        todo = f"To use the GPU, install PyTorch's CUDA build ({START_PAGE})."
        return note("GPU", f"{gpu}: this PyTorch is built without CUDA; astr computes on the CPU", todo)
    if visible is not None:
        todo = "To use the GPU, unset CUDA_VISIBLE_DEVICES."
        return note("GPU", f"{gpu}: hidden by CUDA_VISIBLE_DEVICES={visible}; astr computes on the CPU", todo)
    todo = f"To use the GPU, update its driver, or install PyTorch for an older CUDA ({START_PAGE})."
    return note("GPU", f"{gpu}: PyTorch for CUDA {built_for} cannot use it; astr computes on the CPU", todo)


def _check_gpu(number: int, seen: list[str]) -> Finding:
    import torch

    name = f"cuda:{number}"
    try:
        free, total = torch.cuda.mem_get_info(number)
        ones = torch.ones(1, 8, 32, 32, device=name)
        result = torch.nn.functional.conv2d(ones, torch.ones(8, 8, 1, 1, device=name))
        if not torch.equal(result.cpu(), torch.full((1, 8, 32, 32), 8.0)):
            raise ArithmeticError("a first trial gave wrong numbers")
    except Exception as error:  # the driver, CUDA and cuDNN fail in many ways of their own
        todo = f"Use --device cpu, or install PyTorch for this GPU and its driver ({START_PAGE})."
        return problem(name, f"{torch.cuda.get_device_name(number)} does not compute ({explained(error)})", todo)
    driver = next((f", {gpu.split(', ')[-1]}" for gpu in seen[:1]), "")
    kind = "bf16" if torch.cuda.is_bf16_supported() else "fp32, as it has no bf16"
    text = (
        f"{torch.cuda.get_device_name(number)}, {_gigabytes(free)} of {_gigabytes(total)} free{driver}, computes {kind}"
    )
    if free < LITTLE:
        return note(name, text, "End other programs that use the GPU, or lower --long-side, --batch and --memory.")
    return ok(name, text)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
