"""The dual softmax never holds its matrix."""

import subprocess
import sys

import pytest

CELLS = 6000  # their matrix would be 144 MB

CODE = f"""
import torch
from astr_cli.ops.matching import dual_softmax

def step(cells):
    features = torch.randn(2, 1, cells, 128, generator=torch.Generator().manual_seed(0))
    f0, f1 = features[0].clone().requires_grad_(), features[1].clone().requires_grad_()
    matching = dual_softmax(f0, f1, torch.tensor(0.05))
    matching.best()
    entries = torch.arange(50)
    matching.at(torch.zeros_like(entries), entries, entries).sum().backward()
    assert torch.isfinite(f0.grad).all() and torch.isfinite(f1.grad).all()

def memory(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024

step(64)  # libraries, compiled loops
before = memory("VmRSS")
step({CELLS})
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory from /proc")
def test_forward_and_backward_stay_far_below_the_matrix(backend):
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    megabytes = float(done.stdout)
    inputs = 2 * CELLS * 128 * 4 / 2**20
    # Features scaled, both gradients, and tiles: what grows with the cells is six times the inputs at most.
    assert 0 < megabytes < 6 * inputs + 50, f"{megabytes:.0f} MB"
