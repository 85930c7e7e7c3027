"""The peers of attention over windows: dense attention, with and without a mask, and other sparse implementations."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from astr_cli.bench.comparison import STEPS, Call, Contender, Cost, Trial, served_by
from astr_cli.bench.window_centres import WINDOW
from astr_cli.ops.attention import spot_attention
from astr_cli.ops.lists import spot_mask

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
CHUNK = 1024  # queries of masked SDPA at a time: bounds the mask
PEER = "masked SDPA"


class Case(NamedTuple):
    """One size: the inputs of all implementations."""

    grid: tuple[int, int]
    centres: Tensor  # (B, N, SPOTS)
    query: Tensor  # (B, H, N, D), like key and value a view of one projection, as the model has them
    key: Tensor
    value: Tensor
    pairs: int  # (query, key), of the whole batch


def attention_trials(case: Case, lists: str) -> Iterator[Trial]:
    """Forward, then forward and backward."""
    keys = case.pairs / case.centres[..., 0].numel()
    for step in STEPS:
        backward = step != "forward"
        sparse = _sparse_cost(case, backward)
        floor = Cost(sparse.flops, sparse.bytes + 4 * case.centres.numel())
        yield Trial(
            "attention", case.grid, len(case.query), lists, keys, step, PEER, floor, tuple(_contenders(case, backward))
        )


def _contenders(case: Case, backward: bool) -> Iterator[Contender]:
    ours = partial(spot_attention, centres=case.centres, grid=case.grid, window=WINDOW)
    for backend in ("numba", "cuda", "torch"):
        call = _call(ours, case, backward)
        prepare = partial(served_by, backend, case.query, call)
        yield Contender(f"astr, {backend}", _sparse_cost(case, backward), prepare)
    for name, attention, cost in (
        (PEER, _masked, _masked_cost),
        (f"{PEER}, masks given", _masks_given, _masked_cost),
        ("SDPA, no mask", _unmasked, _unmasked_cost),
        ("flex_attention", _flex, _flex_cost),
        ("three steps", _three_steps, _three_steps_cost),
    ):
        yield Contender(name, cost(case, backward), partial(_prepared, attention, case, backward))


def _prepared(attention: Callable[[Case], Attention], case: Case, backward: bool) -> Call:
    return _call(attention(case), case, backward)


def _call(attend: Attention, case: Case, backward: bool) -> Call:
    leaves = tuple(x.detach().requires_grad_(backward) for x in (case.query, case.key, case.value))
    upstream = torch.ones_like(case.query)

    def call() -> None:
        out = attend(*leaves)
        if backward:
            torch.autograd.grad(out, leaves, upstream)

    return call


def _masked(case: Case) -> Attention:
    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = []
        for q, centres in zip(query.split(CHUNK, dim=2), case.centres.split(CHUNK, dim=1), strict=True):
            mask = spot_mask(centres, case.grid, WINDOW)[:, None]
            parts.append(F.scaled_dot_product_attention(q, key, value, attn_mask=mask))
        return torch.cat(parts, dim=2)

    return attend


def _masks_given(case: Case) -> Attention:
    """As `_masked`, with the masks made beforehand and kept: its best possible time."""
    masks = [spot_mask(part, case.grid, WINDOW)[:, None] for part in case.centres.split(CHUNK, dim=1)]

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = zip(query.split(CHUNK, dim=2), masks, strict=True)
        return torch.cat([F.scaled_dot_product_attention(q, key, value, attn_mask=mask) for q, mask in parts], dim=2)

    return attend


def _unmasked(case: Case) -> Attention:
    return F.scaled_dot_product_attention


def _flex(case: Case) -> Attention:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    visible = spot_mask(case.centres, case.grid, WINDOW)
    cells = visible.shape[2]
    blocks = create_block_mask(
        lambda b, h, q, k: visible[b, q, k], len(visible), None, cells, cells, device=str(visible.device)
    )
    torch.compiler.reset()  # after a few sizes it would stop compiling, and hold all scores in memory
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda q, k, v: compiled(q, k, v, block_mask=blocks)


def _three_steps(case: Case) -> Attention:
    """The supplement's own form: scores of all pairs, their softmax, the weighted sum, each of them in memory."""
    batch, q_of, k_of = spot_mask(case.centres, case.grid, WINDOW).nonzero(as_tuple=True)
    count = case.query.shape[2]
    row, column = batch * count + q_of, batch * count + k_of

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        flat = [x.transpose(1, 2).flatten(0, 1) for x in (query, key, value)]  # (B * N, H, D)
        scores = (flat[0][row] * flat[1][column]).sum(dim=2) / query.shape[3] ** 0.5  # (L, H)
        peak = scores.new_full((len(flat[0]), scores.shape[1]), -torch.inf)
        peak = peak.scatter_reduce(0, row[:, None].expand_as(scores), scores.detach(), "amax")
        weights = (scores - peak[row]).exp()
        total = torch.zeros_like(peak).index_add(0, row, weights)
        mixed = torch.zeros_like(flat[0]).index_add(0, row, (weights / total[row])[..., None] * flat[2][column])
        return mixed.unflatten(0, (len(query), count)).transpose(1, 2)

    return attend


def _sparse_cost(case: Case, backward: bool) -> Cost:
    channels = case.query.shape[1] * case.query.shape[3]
    flops = (14.0 if backward else 4.0) * case.pairs * channels
    return Cost(flops, (8 if backward else 4) * case.query.numel() * case.query.element_size())


def _dense_flops(case: Case, backward: bool) -> float:
    return (14.0 if backward else 4.0) * case.query.numel() * case.key.shape[2]


def _masked_cost(case: Case, backward: bool) -> Cost:
    cells = case.query.shape[2]
    # The mask as booleans and as numbers; autograd keeps every chunk's.
    held = len(case.query) * cells * (1 + case.query.element_size()) * (cells if backward else min(CHUNK, cells))
    return Cost(_dense_flops(case, backward), held)


def _unmasked_cost(case: Case, backward: bool) -> Cost:
    return Cost(_dense_flops(case, backward), _sparse_cost(case, backward).bytes)


def _flex_cost(case: Case, backward: bool) -> Cost:
    # create_block_mask holds several copies of the whole mask.
    return Cost(_dense_flops(case, backward), 6.0 * len(case.query) * case.query.shape[2] ** 2)


def _three_steps_cost(case: Case, backward: bool) -> Cost:
    pair = case.query.shape[1] * case.query.shape[3] * case.query.element_size()
    return Cost(_sparse_cost(case, backward).flops, (5.0 if backward else 3.0) * case.pairs * pair)
