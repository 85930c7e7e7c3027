"""The training loop. A step depends only on (seed, step), so a resumed run repeats it bit by bit."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from astr_cli.model.astr import Astr
from astr_cli.train.batches import TrainingBatch, step_generator
from astr_cli.train.config import TrainConfig
from astr_cli.train.gradients import Gathered, gather_gradients
from astr_cli.train.parallel import any_process, average_gradients, process_rank


@dataclass
class TrainState:
    """Everything that changes during training; a checkpoint is a copy of it."""

    model: Astr
    average: Astr  # exponential moving average, which is exported
    optimizer: torch.optim.AdamW
    step: int = 0  # over all runs
    warm: int = 0  # steps since the start or a warm start; the warm-up of the rate counts from there
    pairs: int = 0
    hours: float = 0.0


class StepReport(NamedTuple):
    """The figures of one step."""

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
    skipped: int  # batches with a loss or gradient that is not finite


def fresh_state(model: Astr, config: TrainConfig, step: int = 0, pairs: int = 0, hours: float = 0.0) -> TrainState:
    """A state for a model with a fresh optimizer, at step 0 or at the step of a warm start."""
    average = Astr(model.config, folded=config.frozen_norm)
    average.load_state_dict(model.state_dict())
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    on_gpu = next(model.parameters()).is_cuda
    optimizer = torch.optim.AdamW(groups, lr=config.rate, fused=True if on_gpu else None)
    return TrainState(model, average.eval().requires_grad_(False), optimizer, step, 0, pairs, hours)


def learning_rate(config: TrainConfig, step: int, warm: int) -> float:
    """Linear warm-up, `rate`, then a cosine to `last_rate` over the last `decay` steps (0: over all since a start).

    A warm start, `warm` steps ago, begins with its own warm-up.
    """
    length = config.decay or config.steps - (step - warm)
    share = min(max((length - (config.steps - step)) / max(length, 1), 0.0), 1.0)
    rate = config.last_rate + (config.rate - config.last_rate) * 0.5 * (1 + math.cos(math.pi * share))
    return rate * min(1.0, (warm + 1) / config.warmup)


def train_step(state: TrainState, config: TrainConfig, batches: Sequence[TrainingBatch]) -> StepReport:
    """One step of AdamW on the mean loss of the pairs of all `batches`; no step if no batch has a finite loss."""
    started = time.perf_counter()
    state.model.train()
    if config.only_fine:
        state.model.backbone.eval()  # BatchNorm's statistics stay the same too
    gathered = gather_gradients(state.model, config, batches, step_generator(config, state.step, 1, process_rank()))
    rate = learning_rate(config, state.step, state.warm)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    average_gradients(state.model)
    gradient = torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
    if any_process(bool(gathered.losses)) and torch.isfinite(gradient):
        state.optimizer.step()
        update_average(state, config)
    pairs = sum(len(batch.image0) for batch in batches) * config.processes
    state.step += 1
    state.warm += 1
    state.pairs += pairs
    seconds = time.perf_counter() - started
    state.hours += seconds / 3600
    return report(state, gathered, rate, gradient, seconds, pairs)


@torch.no_grad()
def update_average(state: TrainState, config: TrainConfig) -> None:
    """Move the average, including its BatchNorm statistics, towards the model."""
    decay = min(config.ema, (state.warm + 1) / (state.warm + 10))
    averages, moving = list(state.average.state_dict().values()), list(state.model.state_dict().values())
    real = [index for index, tensor in enumerate(averages) if tensor.dtype.is_floating_point]
    # All in one call: hundreds of calls would keep a GPU waiting.
    get_ema_multi_avg_fn(decay)([averages[index] for index in real], [moving[index] for index in real], None)
    for index in set(range(len(averages))) - set(real):
        averages[index].copy_(moving[index])


def report(
    state: TrainState, gathered: Gathered, rate: float, gradient: Tensor, seconds: float, pairs: int
) -> StepReport:
    """The figures of the step just taken: means over its batches, NaN if none is finite."""
    config = state.model.config
    parts = [(x.total, x.coarse, x.spots, x.fine, x.accuracy, x.fine_error, *x.inside) for x in gathered.losses]
    rows = [torch.stack(part).float() for part in parts]
    none = torch.full((1, 6 + config.rounds * config.spot_guided), torch.nan)
    means = (torch.stack(rows) if rows else none).nanmean(dim=0).tolist()
    loss, coarse, spots, fine, accuracy, fine_error, *inside = means
    figures = (loss, coarse, spots, fine, accuracy, tuple(inside), fine_error, float(gradient))
    return StepReport(state.step, rate, *figures, seconds, pairs, gathered.skipped)


def run(
    state: TrainState,
    config: TrainConfig,
    batches: Iterable[TrainingBatch],
    device: torch.device,
    finished: Callable[[], bool],
    listener: Callable[[StepReport], None],
) -> None:
    """Train on `batches`, which start at the state's step, until they end or one process is `finished`."""
    ahead = iter(batches)
    while together := [batch.to(device) for batch in islice(ahead, config.accumulate)]:
        listener(train_step(state, config, together))
        if any_process(finished()):
            break
