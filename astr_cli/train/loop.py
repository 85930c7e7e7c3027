"""The training loop: everything a step needs is drawn from (seed, step), so a resumed run repeats it bit by bit."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.model.astr import Astr
from astr_cli.scenes import ScenePair
from astr_cli.train.config import TrainConfig
from astr_cli.train.losses import Losses, batch_losses
from astr_cli.train.parallel import any_process, average_gradients, process_rank
from astr_cli.train.photos import PhotoSet
from astr_cli.train.scene_mix import SUBPIXEL, Mixed, Recordings, SceneMix, SceneShares, mixed_scene
from astr_cli.train.supervision import supervise


@dataclass
class TrainState:
    """What changes while training; a checkpoint is a copy of it."""

    model: Astr
    average: Astr  # exponential moving average, what is exported
    optimizer: torch.optim.AdamW
    step: int = 0  # position in the schedule, over all runs
    warm: int = 0  # steps since a warm start: moments are fresh, so the rate climbs again
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


def fresh_state(model: Astr, config: TrainConfig, step: int = 0, pairs: int = 0, hours: float = 0.0) -> TrainState:
    """A state with fresh moments around a model: at step 0, or warm at a later one."""
    average = Astr(model.config)
    average.load_state_dict(model.state_dict())
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.rate)
    return TrainState(model, average.eval().requires_grad_(False), optimizer, step, 0, pairs, hours)


def learning_rate(config: TrainConfig, step: int, warm: int) -> float:
    """Linear warm-up (again after a warm start), then a cosine from `rate` to `last_rate` at `steps`."""
    share = min(step / config.steps, 1.0)
    rate = config.last_rate + (config.rate - config.last_rate) * 0.5 * (1 + math.cos(math.pi * share))
    return rate * min(1.0, (warm + 1) / config.warmup)


def make_scene(
    photos: PhotoSet, recordings: Recordings | None, config: TrainConfig, step: int, device: torch.device
) -> Mixed:
    """The pairs of one step of this process: rendered, then photographed under different conditions."""
    shares = SceneShares(
        config.planes_share,
        config.relief_share,
        config.rooms_share,
        config.facades_share,
        config.rgbd_share,
        config.megadepth_share,
    )
    mix = SceneMix(config.batch, config.side, shares, config.difficulty, config.light)
    return mixed_scene(photos, recordings, mix, step_generator(config, step, stream=0), device)


def step_generator(config: TrainConfig, step: int, stream: int) -> torch.Generator:
    """Random numbers that depend on the seed, the step, the process and the stream alone."""
    seed = ((config.seed * 1_000_003 + step) * config.processes + process_rank()) * 2 + stream
    return torch.Generator().manual_seed(seed)


def train_step(state: TrainState, config: TrainConfig, scene: ScenePair) -> StepReport:
    """One step of AdamW on one batch of scenes."""
    started = time.perf_counter()
    generator = step_generator(config, state.step, stream=1)
    state.model.train()
    if config.only_fine:
        state.model.backbone.eval()  # BatchNorm's statistics rest too
    device = scene.image0.device
    truth = supervise(scene)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.autocast):
        half = len(scene.image0)
        with torch.set_grad_enabled(not config.only_fine):
            features = state.model.extract(torch.cat([scene.image0, scene.image1]))
            features0, features1 = features.split(half)
            aggregated = state.model.aggregation(features0, features1, keep_rounds=True)
        losses = batch_losses(state.model, (features0, features1), aggregated, truth, config, generator)
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
    state.pairs += half * config.processes
    seconds = time.perf_counter() - started
    state.hours += seconds / 3600
    return report(state, losses, rate, gradient, seconds)


@torch.no_grad()
def update_average(state: TrainState, config: TrainConfig) -> None:
    """Move the average towards the model; its BatchNorm statistics too."""
    decay = min(config.ema, (state.warm + 1) / (state.warm + 10))
    moving = state.model.state_dict()
    for name, tensor in state.average.state_dict().items():
        if tensor.dtype.is_floating_point:
            tensor.lerp_(moving[name], 1 - decay)
        else:
            tensor.copy_(moving[name])


def report(state: TrainState, losses: Losses, rate: float, gradient: Tensor, seconds: float) -> StepReport:
    """The figures of a step that has just been taken."""
    return StepReport(
        state.step,
        rate,
        losses.total.item(),
        losses.coarse.item(),
        losses.spots.item(),
        losses.fine.item(),
        losses.accuracy.item(),
        tuple(share.item() for share in losses.inside),
        losses.fine_error.item(),
        gradient.item(),
        seconds,
    )


def run(
    state: TrainState,
    config: TrainConfig,
    photos: PhotoSet,
    recordings: Recordings,
    device: torch.device,
    last_step: int,
    finished: Callable[[], bool],
    listener: Callable[[StepReport], None],
) -> None:
    """Train until `last_step`, or until one process is `finished`."""
    while state.step < last_step and not any_process(finished()):
        kind, scene = make_scene(photos, recordings, config, state.step, device)
        # Sensor depth is a pixel off: good enough for cells, not for offsets.
        suited = config if kind in SUBPIXEL else config.changed((("fine_weight", 0.0),))
        listener(train_step(state, suited, scene))
