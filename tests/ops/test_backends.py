"""Which backend serves, and what happens where one is missing."""

import json
import subprocess
import sys
import warnings

import pytest
import torch

from astr_cli.errors import AstrError
from astr_cli.ops import backends
from astr_cli.ops.attention import spot_attention
from astr_cli.ops.backends import VARIABLE, backend_name
from astr_cli.ops.matching import dual_softmax


def small():
    return torch.randn(3, 1, 2, 12, 8, generator=torch.Generator().manual_seed(0)), torch.arange(12)[None, :, None]


def test_an_unknown_choice_is_refused(monkeypatch):
    monkeypatch.setenv(VARIABLE, "cudda")
    (query, key, value), centres = small()
    with pytest.raises(ValueError, match="ASTR_ATTENTION is 'cudda'; set it to auto, torch, numba or cuda") as caught:
        spot_attention(query, key, value, centres, (3, 4), 3)
    assert isinstance(caught.value, AstrError)


@pytest.mark.parametrize(
    ("asked", "device", "message"),
    [
        ("cuda", "cpu", "ASTR_ATTENTION=cuda does not support tensors on cpu"),
        ("numba", "cuda", "ASTR_ATTENTION=numba does not support tensors on cuda"),
        ("numba", "mps", "ASTR_ATTENTION=numba does not support tensors on mps"),
    ],
)
def test_a_backend_asked_for_by_name_must_serve(monkeypatch, asked, device, message):
    monkeypatch.setenv(VARIABLE, asked)
    with pytest.raises(AstrError, match=message):
        backend_name(device, torch.float32)


def test_what_auto_takes(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(backends, "numba_problem", lambda: None)
    monkeypatch.setattr(backends, "cuda_problem", lambda: None)
    assert [backend_name(device, torch.bfloat16) for device in ("cpu", "cuda", "mps")] == ["numba", "cuda", "torch"]
    assert backend_name("cpu", torch.float64) == "torch"


def test_a_gpu_without_kernels_is_told_once(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(backends, "cuda_problem", lambda: "the kernels are on holiday")
    with pytest.warns(RuntimeWarning, match="the kernels are on holiday"):
        assert backend_name("cuda", torch.float16) == "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend_name("cuda", torch.float16) == "torch"
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(AstrError, match="ASTR_ATTENTION=cuda, but the kernels are on holiday"):
        backend_name("cuda", torch.float16)


WITHOUT_NUMBA = """
import os, sys, warnings
sys.modules["numba"] = None
warnings.simplefilter("error")
import torch
from astr_cli.ops.attention import spot_attention
x = torch.randn(3, 1, 2, 12, 8)
print(float(spot_attention(*x, torch.arange(12)[None, :, None], (3, 4), 3).abs().sum()) > 0)
os.environ["ASTR_ATTENTION"] = "numba"
try:
    spot_attention(*x, torch.arange(12)[None, :, None], (3, 4), 3)
except ValueError as error:
    print(error)
"""


def test_without_numba_torch_serves_silently():
    done = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, check=True)
    served, message = done.stdout.splitlines()
    assert (served, done.stderr) == ("True", "")
    assert message.startswith("ASTR_ATTENTION=numba, but numba does not work here (ModuleNotFoundError")


def test_importing_the_operators_imports_neither_numba_nor_the_compiler():
    """And using them on a CPU imports numba, but not torch's compiler."""
    code = """
import json, sys, torch, astr_cli.model.astr, astr_cli.ops.attention
before = sorted(sys.modules)
x = torch.randn(3, 1, 2, 12, 8)
astr_cli.ops.attention.spot_attention(*x, torch.arange(12)[None, :, None], (3, 4), 3)
print(json.dumps([before, sorted(sys.modules)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = (set(names) for names in json.loads(done.stdout))
    assert not {"numba", "llvmlite"} & before
    assert "torch._dynamo" not in after


def test_both_backends_find_the_same_partners(monkeypatch):
    """Masked cells, tiles of a few rows, and several pairs at once."""
    generator = torch.Generator().manual_seed(5)
    f0, f1 = torch.randn(2, 3000, 16, generator=generator), torch.randn(2, 400, 16, generator=generator)
    mask0, mask1 = (torch.rand(f.shape[:2], generator=generator) < 0.8 for f in (f0, f1))
    found = {}
    for name in ("torch", "auto"):
        monkeypatch.setenv(VARIABLE, name)
        found[name] = dual_softmax(f0, f1, torch.tensor(1.0), mask0, mask1)
    for first, second, mask in zip(found["torch"].best(), found["auto"].best(), (mask0, mask1), strict=True):
        assert ((first.cells == second.cells) | ~mask).float().mean() > 0.9999
        torch.testing.assert_close(first.log_p[mask], second.log_p[mask], atol=2e-5, rtol=1e-5)
    assert (found["torch"].mutual() & mask0).sum() > 200
    assert torch.equal(found["torch"].mutual() & mask0, found["auto"].mutual() & mask0)
