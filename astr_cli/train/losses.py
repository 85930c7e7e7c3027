"""Losses and figures of a training step (paper section 3.4; sampling from supplement 2.1).

Departures from the paper: docs/model.md, Coarse and spot loss, Fine loss.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.model.aggregation import Aggregated, SpotRound
from astr_cli.model.astr import Astr
from astr_cli.model.backbone import Features
from astr_cli.model.coarse import cell_centres
from astr_cli.model.fine import FineMaps, Located, Windows, token_places
from astr_cli.model.layers import to_tokens
from astr_cli.ops.matching import DualSoftmax
from astr_cli.train.config import TrainConfig
from astr_cli.train.supervision import Supervision

FULL = 32  # pairs with fewer true matches weigh less, because the mean of a few is noise


class Losses(NamedTuple):
    """Loss of one batch, its parts, and the figures for the curves; all scalars."""

    total: Tensor
    coarse: Tensor
    spots: Tensor
    fine: Tensor
    accuracy: Tensor  # share of the true matches that are the maximum of their row of P_c
    inside: tuple[Tensor, ...]  # share of the true matches inside their spot, per round
    fine_error: Tensor  # median pixels


def batch_losses(
    model: Astr,
    features: tuple[Features, Features],
    aggregated: Aggregated,
    truth: Supervision,
    config: TrainConfig,
    generator: torch.Generator,
) -> Losses:
    """All losses of one batch of pairs."""
    order = torch.randperm(len(truth.batch), generator=generator).to(truth.batch.device)
    chosen = order[: max(1, int(config.sampled * len(truth.batch)))]
    with torch.set_grad_enabled(not config.only_fine):
        alone = truth.alone0.nonzero(as_tuple=True), truth.alone1.nonzero(as_tuple=True)
        coarse = matrix_loss(aggregated.matching, truth, chosen, alone, config)
        rounds = [matrix_loss(item.matching, truth, chosen, alone, config) for item in aggregated.rounds]
        spots = torch.stack(rounds).mean() if rounds else torch.zeros_like(coarse)
    if config.only_matcher:
        fine, fine_error = torch.zeros_like(coarse), torch.full_like(coarse, torch.nan)
    else:
        fine, fine_error = fine_loss(model, features, aggregated, truth, config, generator)
    total = coarse + config.spot_weight * spots + config.fine_weight * fine
    with torch.no_grad():
        best = aggregated.matching.best()[0].cells[truth.batch, truth.cells0]
        accuracy = (best == truth.cells1).float().mean()
        grid = (aggregated.coarse1.shape[2], aggregated.coarse1.shape[3])
        inside = tuple(inside_spot(item, truth, grid, model.config.window) for item in aggregated.rounds)
    return Losses(total, coarse, spots, fine, accuracy, inside, fine_error)


def matrix_loss(
    matching: DualSoftmax,
    truth: Supervision,
    chosen: Tensor,
    alone: tuple[tuple[Tensor, ...], tuple[Tensor, ...]],  # pairs and cells of both images
    config: TrainConfig,
) -> Tensor:
    """Focal negative log likelihood of the chosen true matches, plus that of the cells known to have no partner.

    NOTE without LoFTR's alpha, and with a separate weight for the latter (docs/model.md, Coarse and spot loss).
    """
    best0, best1 = matching.best()
    (alone0, cells0), (alone1, cells1) = alone
    # One look-up for all: each one costs a gradient as large as the matrix.
    log_p = matching.at(
        torch.cat([truth.batch[chosen], alone0, alone1]),
        torch.cat([truth.cells0[chosen], cells0, best1.cells[alone1, cells1]]),
        torch.cat([truth.cells1[chosen], best0.cells[alone0, cells0], cells1]),
    )
    log_true, log_false = log_p[: len(chosen)], log_p[len(chosen) :]
    pairs = len(truth.alone0)
    loss = mean_of_pairs(-((1 - log_true.exp()) ** config.focal * log_true), truth.batch[chosen], pairs)
    p = log_false.exp().clamp(max=1 - 1e-4)
    losses = -(p**config.focal * (1 - p).log())
    return loss + config.alone_weight * mean_of_pairs(losses, torch.cat([alone0, alone1]), pairs)


def mean_of_pairs(losses: Tensor, batch: Tensor, pairs: int) -> Tensor:
    """Mean over `pairs` of the mean losses (G,) of each pair, given by `batch` (G,); pairs with few losses weigh less.

    So a hard pair with few true matches counts like others, and the batches of a step add up to one large batch.
    """
    sums = losses.new_zeros(pairs).index_add(0, batch, losses)
    return (sums / torch.bincount(batch, minlength=pairs).clamp(min=FULL)).mean()


def fine_loss(
    model: Astr,
    features: tuple[Features, Features],
    aggregated: Aggregated,
    truth: Supervision,
    config: TrainConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Loss of the offsets and of the heat maps in both directions, and the median error in pixels.

    NOTE on true matches only, never on those that the network finds (docs/model.md, Fine loss).
    """
    cells = aggregated.matching.rows.numel()
    count = min(len(truth.batch), max(config.fine_least, int(config.fine_share * cells)))
    chosen = torch.randperm(len(truth.batch), generator=generator)[:count].sort().values.to(truth.batch.device)
    batch, cells0, cells1 = truth.batch[chosen], truth.cells0[chosen], truth.cells1[chosen]
    windows = Windows(
        cell_centres(cells0, aggregated.coarse0.shape[3]),
        cell_centres(cells1, aggregated.coarse1.shape[3]),
        jittered(truth.ratios[chosen], model.config.ratio_limit, config, generator),
        to_tokens(aggregated.coarse0)[batch, cells0],
        to_tokens(aggregated.coarse1)[batch, cells1],
    )
    counts = torch.bincount(batch, minlength=len(features[0].fine)).tolist()
    refined = model.fine(FineMaps(features[0].fine, features[1].fine, counts), windows)
    true = truth.offsets0[chosen], truth.offsets1[chosen]
    places = token_places(model.config.fine_tokens, true[0].device)
    losses = [
        location_loss(side, goal, places, config) for look in refined for side, goal in zip(look, true, strict=True)
    ]
    corrections = [correction_loss(side, goal) for side, goal in zip(refined.last, true, strict=True)]
    errors = [(side.offsets - goal).detach().norm(dim=1) for side, goal in zip(refined.last, true, strict=True)]
    loss = torch.stack(losses).mean() + config.correction_weight * torch.stack(corrections).mean()
    return loss, torch.cat(errors).median()


def location_loss(located: Located, true: Tensor, places: Tensor, config: TrainConfig) -> Tensor:
    """Loss of the positions in one image; true offsets (M, 2) beyond a window are clamped to its edge."""
    peak = (located.peak - located.start) / located.reach
    goal = ((true - located.start) / located.reach).clamp(-1, 1)
    offsets = offset_loss(peak, goal, located.log_heat, places)
    return offsets + config.heat_weight * heat_loss(located.log_heat, goal, places)


def correction_loss(located: Located, true: Tensor) -> Tensor:
    """Length of the error of corrected offsets, in half-widths of the window, smoothed below a tenth.

    True offsets (M, 2) beyond the window do not count, because no correction reaches them. NOTE not in the paper
    (docs/model.md, Fine loss).
    """
    goal = (true - located.start) / located.reach
    inside = (goal.abs() < 1).all(dim=1)
    apart = ((located.offsets - true) / located.reach).square().sum(dim=1)
    return ((apart + 0.01).sqrt() * inside).sum() / inside.sum().clamp(min=1)


def offset_loss(found: Tensor, true: Tensor, log_heat: Tensor, places: Tensor) -> Tensor:
    """Squared error of offsets (M, 2) in half-widths of the window, weighted by the inverse spread (section 3.4)."""
    with torch.no_grad():
        heat = log_heat.exp()
        variance = heat @ places.square() - (heat @ places).square()
        weight = 1.0 / variance.clamp(min=1e-10).sqrt().sum(dim=1)
    return ((found - true).square().sum(dim=1) * weight / weight.mean()).mean()


def heat_loss(log_heat: Tensor, true: Tensor, places: Tensor) -> Tensor:
    """Cross entropy of heat maps (M, tokens) with true offsets (M, 2), each distributed over the tokens near it.

    NOTE not in the paper (docs/model.md, Fine loss).
    """
    spacing = 2.0 / (math.isqrt(len(places)) - 1)
    apart = (true[:, None] - places).abs() / spacing
    share = (1 - apart).clamp(min=0).prod(dim=2)
    return -(share * log_heat).sum(dim=1).mean()


def jittered(ratios: Tensor, limit: float, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """True ratios as inexact as in use: with noise, sometimes 1, within the limit (docs/model.md, Fine loss)."""
    noise = torch.randn(len(ratios), generator=generator).to(ratios.device)
    plain = torch.rand(len(ratios), generator=generator).to(ratios.device) < config.ratio_plain
    noisy = (ratios * (config.ratio_jitter * noise).exp()).clamp(1 / limit, limit)
    return torch.where(plain, torch.ones_like(noisy), noisy)


def inside_spot(item: SpotRound, truth: Supervision, grid: tuple[int, int], window: int) -> Tensor:
    """Share of the true matches whose cell of image1 lies in one of the windows of its cell of image0."""
    centres = item.centres0[truth.batch, truth.cells0]
    apart_x = (centres % grid[1] - (truth.cells1 % grid[1])[:, None]).abs()
    apart_y = (centres // grid[1] - (truth.cells1 // grid[1])[:, None]).abs()
    near = (apart_x <= window // 2) & (apart_y <= window // 2) & (centres >= 0)
    return near.any(dim=1).float().mean()
