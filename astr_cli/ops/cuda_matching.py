"""The streaming dual softmax on an NVIDIA GPU, by the kernels of cuda/matching.cu: no score is ever in memory.

Shapes as in `torch_matching`. Tensor cores multiply halves, of as many bits as TF32, and add in float32:
this serves where float32 products may be rounded so (`torch.set_float32_matmul_precision`), and nowhere else.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.ops import cuda, cuda_launch, torch_matching
from astr_cli.ops.cuda_launch import FILES, Argument, Build, Grid
from astr_cli.ops.torch_matching import IMPOSSIBLE, floored

OLDEST = (8, 0)  # compute capability that has these products
WIDEST = 256  # channels
LARGEST = 2.0**15  # of a feature; halves end at 65,504


def problem() -> str | None:
    """Why the kernels fail on this machine; None = they do not: they have been tried on the current device.

    The answer is kept, but not a want of memory: the next call tries again.
    """
    try:
        return _settled()
    except cuda.NoMemoryError as error:
        return cuda.because(str(error))


@cache
def _settled() -> str | None:
    try:
        _try()
    except Exception as error:  # NVRTC, the driver and their wheels fail in many ways of their own
        cuda.raise_for_memory(error)
        return cuda.because(cuda.explained(error))
    return None


def _try() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 1, 70, 128, generator=generator).half().float().cuda()
    parts = (features[0], features[1], None, None)
    found, expected = CudaMatching().sums(*parts), torch_matching.sums(*parts)
    if not all(torch.allclose(x, y, atol=0.05, rtol=1e-3) for x, y in zip(found, expected, strict=True)):
        raise ArithmeticError("a first trial gave wrong numbers")


def serves(features: Tensor) -> bool:
    """Whether the kernels are meant for features (B, N, C) like these, on this GPU, to this precision."""
    batch, _, channels = features.shape
    fits = channels % 32 == 0 and 0 < channels <= WIDEST and features.numel() < cuda.BEYOND and batch < 2**16
    rounded = torch.get_float32_matmul_precision() != "highest"
    return fits and rounded and features.dtype == torch.float32 and _capable(features.device)


def _capable(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= OLDEST


class CudaMatching(NamedTuple):
    """The operators, with `launch` to run the kernels."""

    launch: cuda.Launch = cuda_launch.launch

    def sums(
        self, features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Log-sum-exp of every row (B, N0) and of every column (B, N1)."""
        side0, side1 = _side(features0, mask0), _side(features1, mask1)
        return self._sums(side0, side1), self._sums(side1, side0)

    def _sums(self, own: "_Side", other: "_Side") -> Tensor:
        sums = torch.full(own.features.shape[:2], -torch.inf, device=own.features.device)
        if own.features.numel() and other.features.numel():
            self._launch("astr_row_sums", own, other, sums)
        return floored(sums)

    def best(
        self,
        features0: Tensor,
        features1: Tensor,
        mask0: Tensor | None,
        mask1: Tensor | None,
        rows: Tensor,
        columns: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Each row's best column (B, N0) int64 and its log P, each column's best row (B, N1) and its log P."""
        side0, side1 = _side(features0, mask0), _side(features1, mask1)
        return *self._best(side0, side1, rows, columns), *self._best(side1, side0, columns, rows)

    def _best(self, own: "_Side", other: "_Side", own_sums: Tensor, other_sums: Tensor) -> tuple[Tensor, Tensor]:
        cells = torch.zeros(own_sums.shape, dtype=torch.int32, device=own_sums.device)
        log_p = torch.full_like(own_sums, -torch.inf)
        if own.features.numel() and other.features.numel():
            sums = own_sums.contiguous(), other_sums.contiguous()
            self._launch("astr_row_best", own, other, *sums, cells, log_p)
        return cells.long(), log_p.clamp_(min=IMPOSSIBLE)

    def _launch(self, kernel: str, own: "_Side", other: "_Side", *rest: Argument) -> None:
        batch, count, channels = own.features.shape
        rows = 32 if channels <= 128 else 16  # of a warp: ROWS of matching.cu
        grid: Grid = (-(-count // (rows * FILES["matching"].warps)), 1, batch)
        sides = (own.features, own.mask, count, other.features, other.mask, other.features.shape[1])
        self.launch(Build("matching", torch.float16, channels), kernel, grid, (*sides, *rest))


class _Side(NamedTuple):
    features: Tensor  # (B, N, C) halves
    mask: Tensor | None  # (B, N) bool


def _side(features: Tensor, mask: Tensor | None) -> _Side:
    # Beyond what a half holds there would be infinities, and their differences are no numbers.
    halves = features.detach().clamp(-LARGEST, LARGEST).half().contiguous()
    return _Side(halves, None if mask is None else mask.contiguous())
