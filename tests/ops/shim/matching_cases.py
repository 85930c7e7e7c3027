"""Inputs for the kernels of cuda/matching.cu, on whatever device, and what they must make of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.ops import torch_matching
from astr_cli.ops.cuda_matching import CudaMatching
from astr_cli.ops.torch_matching import IMPOSSIBLE


class Case(NamedTuple):
    features0: Tensor
    features1: Tensor
    mask0: Tensor | None
    mask1: Tensor | None


def random_case(counts: tuple[int, int], channels: int, seed: int = 0, masked: bool = True) -> Case:
    """Two pairs, of numbers that halves hold; every second row is like a column, so that there is a best one."""
    generator = torch.Generator().manual_seed(seed)
    features0, features1 = (torch.randn(2, count, channels, generator=generator) for count in counts)
    alike = min(counts)
    features1[:, :alike:2] = features0[:, :alike:2] + 0.3 * features1[:, :alike:2]
    masks = [torch.rand(2, count, generator=generator) < 0.8 if masked else None for count in counts]
    scale = 4 / channels**0.5
    return Case((features0 * scale).half().float(), (features1 * scale).half().float(), *masks)


def exact(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Row sums, column sums and the whole of log P in float64."""
    features = (case.features0.double(), case.features1.double())
    rows, columns = torch_matching.sums(*features, case.mask0, case.mask1)
    parts = [tile.clone() for _, tile in torch_matching.tiles(*features, case.mask0, case.mask1)]
    return rows, columns, torch.cat(parts, dim=1) * 2 - rows[:, :, None] - columns[:, None]


def check(kernels: CudaMatching, case: Case, device: str = "cpu") -> None:
    """Sums, best partners and their log P, on `device`, equal float64's."""
    rows, columns, log_p = exact(case)
    there = [None if x is None else x.to(device) for x in case]
    sums_there = kernels.sums(*there)
    best = [x.cpu() for x in kernels.best(*there, *sums_there)]
    found = [x.cpu() for x in sums_there]
    for sums, expected, mask in zip(found, (rows, columns), case[2:], strict=True):
        counts = torch.ones_like(sums, dtype=torch.bool) if mask is None else mask
        torch.testing.assert_close(sums[counts].double(), expected[counts], atol=1e-4, rtol=1e-5)
        assert (sums[~counts] == IMPOSSIBLE / 2).all()
    for cells, values, dim in ((*best[:2], 2), (*best[2:], 1)):
        expected = log_p.max(dim=dim).values
        possible = expected > IMPOSSIBLE / 4
        at_cells = log_p.gather(dim, cells.unsqueeze(dim)).squeeze(dim)
        torch.testing.assert_close(values[possible].double(), expected[possible], atol=3e-4, rtol=1e-5)
        torch.testing.assert_close(at_cells[possible], expected[possible], atol=3e-4, rtol=1e-5)
        assert (values[~possible] == IMPOSSIBLE).all()
        assert (cells[~possible] == 0).all()
