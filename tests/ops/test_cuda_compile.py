"""The kernels compile for every GPU they are for, with nothing to say; and what is said where they cannot run."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from functools import cache

import pytest
import torch

from astr_cli.errors import AstrError
from astr_cli.ops import backends, cuda, cuda_launch, cuda_matching
from astr_cli.ops.backends import VARIABLE, attention_backend, backend_name
from astr_cli.ops.cuda_launch import Build
from astr_cli.ops.lists import KeyLists

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
FILES = [("attend", 0), ("attend", 5), ("attend_backward", 0), ("attend_backward", 5), ("scores", 0)]


@pytest.fixture(scope="module")
def nvrtc():
    try:
        cuda_launch.program(Build("scores", torch.float32, 32), "sm_75").close()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"NVRTC is not here: {cuda.explained(error)}")


def complaints(build: Build, architecture: str) -> str:
    """What NVRTC and its assembler print."""
    logs = io.StringIO()
    options = ["--warn-on-spills", "--warn-on-local-memory-usage"]
    cuda_launch.program(build, architecture, ptxas_options=options).compile("cubin", logs=logs)
    return logs.getvalue().strip("\n \0")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_kernels_compile_without_a_word(nvrtc, architecture):
    """Heads of 32, as the model's: no warning, nothing spilled out of registers."""
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for file, window in FILES:
            build = Build(file, dtype, 32, window)
            assert complaints(build, architecture) == "", build


@pytest.mark.parametrize("architecture", ARCHITECTURES[1:])
def test_the_matching_kernels_compile_without_a_word(nvrtc, architecture):
    """From sm_80 on, for features of the presets and the smallest."""
    for channels in (32, 128, 256):
        build = Build("matching", torch.float16, channels)
        assert complaints(build, architecture) == "", build


@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float64, 32), (torch.float16, 24), (torch.float32, 5), (torch.bfloat16, 256)]
)
def test_other_builds_compile_without_a_word(nvrtc, dtype, size):
    for file, window in FILES:
        build = Build(file, dtype, size, 3 if window else 0)
        assert complaints(build, "sm_80") == "", build


def test_the_gate_would_see_warnings_and_spills(nvrtc, monkeypatch):
    plain = cuda_launch.source("attend")
    unused = plain.replace("__shared__", "int unused;\n    __shared__", 1)
    monkeypatch.setattr(cuda_launch, "source", lambda file: unused)
    assert "unused" in complaints(Build("attend", torch.float32, 32), "sm_80")
    crowded = plain.replace("32 * WARPS, BLOCKS", "32 * WARPS, 4")
    assert crowded != plain
    monkeypatch.setattr(cuda_launch, "source", lambda file: crowded)
    assert "spill" in complaints(Build("attend", torch.float32, 32), "sm_80")


def test_an_error_names_its_file_and_line(nvrtc, monkeypatch):
    broken = cuda_launch.source("attend").replace("Real largest =", "Reel largest =")
    line = next(n for n, text in enumerate(broken.split('#line 1 "attend.cu"\n')[1].splitlines(), 1) if "Reel" in text)
    monkeypatch.setattr(cuda_launch, "source", lambda file: broken)
    with pytest.raises(Exception, match=rf"attend\.cu\({line}\)"):
        complaints(Build("attend", torch.float32, 32), "sm_80")


def test_the_second_time_nothing_is_compiled(nvrtc, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    build = Build("scores", torch.float32, 32)
    first = bytes(cuda_launch.compiled(build, "sm_75").code)
    (kept,) = (path for path in tmp_path.rglob("*") if path.is_file())
    changed = kept.read_bytes() + b"kept"
    kept.write_bytes(changed)
    assert changed != first
    assert bytes(cuda_launch.compiled(build, "sm_75").code) == changed
    assert bytes(cuda_launch.compiled(build, "sm_80").code) not in (first, changed)


def test_no_place_to_keep_anything_is_no_error(nvrtc, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "file"))
    assert cuda_launch.compiled(Build("scores", torch.float32, 32), "sm_75").code


def test_the_kernels_include_nothing():
    """NVRTC's wheel has no headers."""
    for file in cuda_launch.FILES:
        assert "#include" not in cuda_launch.source(file).replace("There is no #include", "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_reason_is_told():
    reason = "this PyTorch lacks CUDA" if torch.version.cuda is None else "PyTorch finds no NVIDIA GPU"
    assert cuda.problem() == f"the CUDA kernels are not available because {reason}"


@pytest.mark.parametrize(
    ("version", "hip", "capability", "reason"),
    [
        (None, "6.4", None, "this PyTorch is built for AMD GPUs"),
        ("12.8", None, (7, 0), "they need compute capability 7.5, this GPU has 7.0"),
    ],
)
def test_other_gpus_are_told_why(monkeypatch, version, hip, capability, reason):
    monkeypatch.setattr(torch.version, "cuda", version)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert cuda._settled.__wrapped__() == f"the CUDA kernels are not available because {reason}"


WITHOUT = """
import json, sys
sys.modules["cuda.{module}"] = None
import torch
from astr_cli.ops import cuda, cuda_launch
try:
    cuda_launch.compiled(cuda_launch.Build("scores", torch.float32, 32), "sm_75")
except Exception as error:
    print(json.dumps(cuda.explained(error)))
"""


@pytest.mark.parametrize("module", ["core", "bindings"])
def test_a_missing_package_is_named_with_its_cure(module):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(module=module)], capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    assert said.startswith(("ImportError: ", "ModuleNotFoundError: "))
    assert module in said
    assert "; pip install cuda-core 'cuda-bindings==" in said
    assert "\n" not in said


def test_a_machine_that_fails_falls_back_once_and_says_why(monkeypatch):
    """Whatever the trial raises."""

    def fail() -> None:
        raise OSError("libnvrtc is\nin pieces")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(cuda, "_try", fail)
    monkeypatch.setattr(backends, "cuda_problem", cuda._settled.__wrapped__)
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.warns(RuntimeWarning, match="not available because OSError: libnvrtc is in pieces"):
        assert backend_name("cuda", torch.float16) == "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend_name("cuda", torch.float16) == "torch"
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(AstrError, match="ASTR_ATTENTION=cuda, but the CUDA kernels are not available because OSError"):
        backend_name("cuda", torch.float16)


def test_inputs_beyond_the_kernels_take_torch(monkeypatch):
    monkeypatch.setattr(backends, "backend_name", lambda *_: "cuda")
    monkeypatch.delenv(VARIABLE, raising=False)
    usual, long = torch.empty(1, 1, 2, 32), torch.empty(1, 1, 2, 512)
    lists = KeyLists(torch.zeros(1, 1, 1, dtype=torch.int32))
    assert attention_backend(usual, usual, lists) is backends.CUDA_ATTENTION
    with pytest.warns(RuntimeWarning, match="heads of 512 torch.float32 are too long for a warp"):
        assert attention_backend(long, long, lists) is backends.TORCH_ATTENTION
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(AstrError, match="ASTR_ATTENTION=cuda, but heads of 512"):
        attention_backend(long, long, lists)


@pytest.mark.parametrize(
    "error", [torch.cuda.OutOfMemoryError("no room"), RuntimeError("CUDA_ERROR_OUT_OF_MEMORY"), MemoryError()]
)
@pytest.mark.parametrize("kernels", [cuda, cuda_matching])
def test_a_want_of_memory_is_not_kept(monkeypatch, kernels, error):
    """The next call tries the kernels again, and what it finds then is kept."""
    tries = []

    def fail_once() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise error

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(kernels, "_try", fail_once)
    monkeypatch.setattr(kernels, "_settled", cache(kernels._settled.__wrapped__))
    assert type(error).__name__ in (kernels.problem() or "")
    assert [kernels.problem(), kernels.problem(), len(tries)] == [None, None, 2]
