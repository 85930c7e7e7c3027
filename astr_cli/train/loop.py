"""The training loop: everything a step needs is drawn from (seed, step), so a resumed run repeats it bit by bit."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from astr_cli.model.astr import Astr
from astr_cli.train.batches import TrainingBatch, step_generator
from astr_cli.train.config import TrainConfig
from astr_cli.train.losses import Losses, batch_losses
from astr_cli.train.parallel import any_process, average_gradients, process_rank


@dataclass
class TrainState:
    """What changes while training; a checkpoint is a copy of it."""

    model: Astr
    average: Astr  # exponential moving average, what is exported
    optimizer: torch.optim.AdamW
    step: int = 0  # over all runs
    warm: int = 0  # steps since the start, or a warm start: moments are fresh, so the rate climbs again
    pairs: int = 0
    hours: float = 0.0


class StepReport(NamedTuple):
    """One step's figures, as floats."""

    step: int
    rate: float
    loss: float
    coarse: float
    spots: float
    fine: float
    accuracy: float
    inside: tuple[float, ...]
    fine_error: float
    gradient: float
    seconds: float
    pairs: int


def fresh_state(model: Astr, config: TrainConfig, step: int = 0, pairs: int = 0, hours: float = 0.0) -> TrainState:
    """A state with fresh moments around a model: at step 0, or warm at a later one."""
    average = Astr(model.config)
    average.load_state_dict(model.state_dict())
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    on_gpu = next(model.parameters()).is_cuda
    optimizer = torch.optim.AdamW(groups, lr=config.rate, fused=True if on_gpu else None)
    return TrainState(model, average.eval().requires_grad_(False), optimizer, step, 0, pairs, hours)


def learning_rate(config: TrainConfig, step: int, warm: int) -> float:
    """Linear warm-up, then a cosine from `rate` to `last_rate` at `steps`; both anew from a warm start, `warm` ago."""
    share = min(warm / max(config.steps - (step - warm), 1), 1.0)
    rate = config.last_rate + (config.rate - config.last_rate) * 0.5 * (1 + math.cos(math.pi * share))
    return rate * min(1.0, (warm + 1) / config.warmup)


def train_step(state: TrainState, config: TrainConfig, batch: TrainingBatch) -> StepReport:
    """One step of AdamW on one batch."""
    started = time.perf_counter()
    generator = step_generator(config, state.step, stream=1, rank=process_rank())
    state.model.train()
    if config.only_fine:
        state.model.backbone.eval()  # BatchNorm's statistics rest too
    if not batch.subpixel:
        config = config.changed((("fine_weight", 0.0),))
    with torch.autocast(batch.image0.device.type, torch.bfloat16, enabled=config.autocast):
        half = len(batch.image0)
        with torch.set_grad_enabled(not config.only_fine):
            features = state.model.extract(torch.cat([batch.image0, batch.image1]))
            features0, features1 = features.split(half)
            aggregated = state.model.aggregation(features0, features1, keep_rounds=True)
        losses = batch_losses(state.model, (features0, features1), aggregated, batch.truth, config, generator)
    rate = learning_rate(config, state.step, state.warm)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    losses.total.backward()
    average_gradients(state.model)
    gradient = torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
    if torch.isfinite(gradient):
        state.optimizer.step()
        update_average(state, config)
    state.step += 1
    state.warm += 1
    pairs = half * config.processes
    state.pairs += pairs
    seconds = time.perf_counter() - started
    state.hours += seconds / 3600
    return report(state, losses, rate, gradient, seconds, pairs)


@torch.no_grad()
def update_average(state: TrainState, config: TrainConfig) -> None:
    """Move the average towards the model; its BatchNorm statistics too."""
    decay = min(config.ema, (state.warm + 1) / (state.warm + 10))
    averages, moving = list(state.average.state_dict().values()), list(state.model.state_dict().values())
    real = [index for index, tensor in enumerate(averages) if tensor.dtype.is_floating_point]
    # All in one call: a GPU waits for hundreds.
    get_ema_multi_avg_fn(decay)([averages[index] for index in real], [moving[index] for index in real], None)
    for index in set(range(len(averages))) - set(real):
        averages[index].copy_(moving[index])


def report(state: TrainState, losses: Losses, rate: float, gradient: Tensor, seconds: float, pairs: int) -> StepReport:
    """The figures of a step that has just been taken."""
    parts = (losses.total, losses.coarse, losses.spots, losses.fine, losses.accuracy, losses.fine_error, gradient)
    figures = torch.stack([part.float() for part in (*parts, *losses.inside)]).tolist()
    total, coarse, spots, fine, accuracy, fine_error, norm = figures[: len(parts)]
    inside = tuple(figures[len(parts) :])
    return StepReport(state.step, rate, total, coarse, spots, fine, accuracy, inside, fine_error, norm, seconds, pairs)


def run(
    state: TrainState,
    config: TrainConfig,
    batches: Iterable[TrainingBatch],
    device: torch.device,
    finished: Callable[[], bool],
    listener: Callable[[StepReport], None],
) -> None:
    """Train on `batches`, which begin at the state's step, until they end or one process is `finished`."""
    for batch in batches:
        listener(train_step(state, config, batch.to(device)))
        if any_process(finished()):
            break
