"""The gradient of one optimiser step: the mean over the pairs of several batches, without those that are not finite."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from astr_cli.model.astr import Astr
from astr_cli.train.batches import TrainingBatch
from astr_cli.train.config import TrainConfig
from astr_cli.train.losses import Losses, batch_losses

# The layers that only the fine stage reads, in addition to the stage itself.
FINE = ("fine.", "backbone.merge4.", "backbone.merge2.")


class Gathered(NamedTuple):
    """The results of the batches of a step; the gradients are in the parameters."""

    losses: list[Losses]  # detached, of the batches that were not left out
    skipped: int  # batches left out


def trained_parameters(model: Astr, config: TrainConfig) -> list[nn.Parameter]:
    """The parameters that a run trains: all, or those of its stage."""
    if config.only_fine:
        return list(model.fine.parameters())
    return [
        parameter for name, parameter in model.named_parameters() if not (config.only_matcher and name.startswith(FINE))
    ]


def gather_gradients(
    model: Astr, config: TrainConfig, batches: Sequence[TrainingBatch], generator: torch.Generator
) -> Gathered:
    """Set the gradient of every trained parameter to that of the mean loss of all pairs.

    A batch whose loss or gradient is not finite is left out, and BatchNorm's statistics are restored. If all
    batches are left out, the gradients are zero.
    """
    parameters = trained_parameters(model, config)
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    kept: list[Losses] = []
    pairs = 0
    for batch in batches:
        statistics = [buffer.clone() for buffer in model.buffers()]
        losses = forward(model, config, batch, generator)
        gradients = finite_gradients(losses.total, parameters)
        if gradients is None:
            for buffer, before in zip(model.buffers(), statistics, strict=True):
                buffer.copy_(before)
            continue
        kept.append(_detached(losses))
        pairs += len(batch.image0)
        for total, gradient in zip(sums, gradients, strict=True):
            total.add_(gradient, alpha=len(batch.image0))
    for parameter, total in zip(parameters, sums, strict=True):
        parameter.grad = total.div_(max(pairs, 1))
    return Gathered(kept, len(batches) - len(kept))


def forward(model: Astr, config: TrainConfig, batch: TrainingBatch, generator: torch.Generator) -> Losses:
    """The losses of one batch, ready for computing gradients."""
    if not batch.subpixel:
        config = config.changed((("fine_weight", 0.0),))
    with torch.autocast(batch.image0.device.type, torch.bfloat16, enabled=config.autocast):
        with torch.set_grad_enabled(not config.only_fine):
            features = model.extract(torch.cat([batch.image0, batch.image1]))
            features0, features1 = features.split(len(batch.image0))
            aggregated = model.aggregation(features0, features1, keep_rounds=True)
        return batch_losses(model, (features0, features1), aggregated, batch.truth, config, generator)


def finite_gradients(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor] | None:
    """Gradients of a loss, zero for parameters without influence; None if the loss or a gradient is not finite.

    The loss is checked first, because the backward pass of torch's image sampling crashes on points that are NaN.
    """
    if not torch.isfinite(loss):
        return None
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    norms = torch.stack(torch._foreach_norm(found))
    return list(found) if torch.isfinite(norms).all() else None


def _detached(losses: Losses) -> Losses:
    parts = losses._asdict()
    inside = tuple(part.detach() for part in parts.pop("inside"))
    return Losses(**{name: part.detach() for name, part in parts.items()}, inside=inside)
