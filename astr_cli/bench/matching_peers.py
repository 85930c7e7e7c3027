"""The peer of the streaming dual softmax: the one with its whole matrix in memory."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from astr_cli.bench.comparison import STEPS, Contender, Cost, Trial, served_by
from astr_cli.ops.matching import dual_softmax

PEER = "dense"
ROWS = 256  # of log P formed at a time
STRIDE = 4  # the gradient is that of log P at one cell in so many, as in training
ASKED = 1 - (1 - 1 / STRIDE) ** 2  # of the matrix: the rows and the columns of those cells


def matching_trials(grid: tuple[int, int], batch: int, channels: int, device: torch.device) -> Iterator[Trial]:
    """Log-sum-exps and best partners; then also the gradient of log P at some entries. Always in float32."""
    cells = grid[0] * grid[1]
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(batch, cells, channels, generator=generator).to(device) for _ in range(2)]
    product, matrix = 2.0 * batch * cells * cells * channels, 4.0 * batch * cells * cells
    for step in STEPS:
        backward = step != "forward"
        call = partial(_rounded, _streaming, features, backward)
        ours = tuple(
            Contender(f"astr, {backend}", Cost(passes * product, 0.0), partial(served_by, backend, features[0], call))
            for backend, passes in (
                ("numba", 2 + 3 * ASKED * backward),
                ("cuda", 4 + 3 * backward),  # rows and columns each have their own
                ("torch", 2 + 3 * backward),
            )
        )
        # exp() and its like of the whole matrix, and with the gradient its softmaxes, stand beside it.
        cost = Cost((3 if backward else 1) * product, (5 if backward else 2) * matrix)
        dense = Contender(PEER, cost, partial(partial, _rounded, _dense, features, backward))
        floor = Cost(cost.flops, 4.0 * (4 if backward else 2) * features[0].numel())
        yield Trial("dual softmax", grid, batch, "", None, step, PEER, floor, (*ours, dense))


def _entries(batch: int, cells: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    own = torch.arange(0, batch * cells, STRIDE, device=device)
    return own // cells, own % cells, own.flip(0) % cells


def _scale(channels: int) -> Tensor:
    return torch.tensor(10.0 / channels)  # temperature 0.1, the presets' first one


def _rounded(step: Callable[[list[Tensor], bool], None], features: list[Tensor], backward: bool) -> None:
    """`step` with float32 products of the precision that they have beside bf16 in `astr match`."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if features[0].is_cuda else before)
    try:
        step(features, backward)
    finally:
        torch.set_float32_matmul_precision(before)


def _streaming(features: list[Tensor], backward: bool) -> None:
    leaves = [x.detach().requires_grad_(backward) for x in features]
    batch, cells, channels = leaves[0].shape
    matching = dual_softmax(leaves[0], leaves[1], _scale(channels))
    matching.best()
    if backward:
        torch.autograd.grad(matching.at(*_entries(batch, cells, leaves[0].device)).sum(), leaves)


def _dense(features: list[Tensor], backward: bool) -> None:
    leaves = [x.detach().requires_grad_(backward) for x in features]
    batch, cells, channels = leaves[0].shape
    root = _scale(channels).sqrt()
    scores = (leaves[0] * root) @ (leaves[1] * root).transpose(1, 2)
    rows, columns = torch.logsumexp(scores, dim=2), torch.logsumexp(scores, dim=1)
    _dense_best(scores.detach(), rows.detach(), columns.detach())
    if backward:
        item, cells0, cells1 = _entries(batch, cells, leaves[0].device)
        log_p = 2 * scores[item, cells0, cells1] - rows[item, cells0] - columns[item, cells1]
        torch.autograd.grad(log_p.sum(), leaves)


def _dense_best(scores: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Best column of each row, best row of each column; some rows of log P at a time, which avoids a second matrix."""
    cells0 = []
    values1 = torch.full_like(columns, -torch.inf)
    cells1 = torch.zeros(values1.shape, dtype=torch.int64, device=values1.device)
    for start in range(0, scores.shape[1], ROWS):
        chunk = slice(start, start + ROWS)
        log_p = torch.mul(scores[:, chunk], 2).sub_(rows[:, chunk, None]).sub_(columns[:, None])
        cells0.append(log_p.max(dim=2).indices)
        values, places = log_p.max(dim=1)
        cells1 = torch.where(values > values1, places + start, cells1)
        values1 = torch.maximum(values1, values)
    return torch.cat(cells0, dim=1), cells1
