"""The batches of a run, each determined by (seed, step) alone; extra processes can render them."""

import os
import random
from dataclasses import dataclass
from multiprocessing.util import Finalize
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from astr_cli.train.config import TrainConfig
from astr_cli.train.photos import PhotoSet, SharedPhotos
from astr_cli.train.scene_mix import (
    SUBPIXEL,
    Mixed,
    RecordingFolders,
    Recordings,
    SceneMix,
    SceneShares,
    load_recordings,
    mixed_scene,
)
from astr_cli.train.supervision import Supervision, supervise


class TrainingBatch(NamedTuple):
    """Images and ground truth of one batch."""

    image0: Tensor  # (B, 1, H, W) float32 in [0, 1]
    image1: Tensor
    truth: Supervision
    subpixel: bool  # whether the true offsets are exact enough for the fine stage

    def to(self, device: torch.device) -> "TrainingBatch":
        """The same on `device`; the copy to a GPU does not wait, the copy from a GPU does."""
        ahead = device.type == "cuda"
        truth = Supervision(*(part.to(device, non_blocking=ahead) for part in self.truth))
        image0, image1 = self.image0.to(device, non_blocking=ahead), self.image1.to(device, non_blocking=ahead)
        return TrainingBatch(image0, image1, truth, self.subpixel)


def make_scene(
    photos: PhotoSet, recordings: Recordings | None, config: TrainConfig, step: int, device: torch.device, rank: int = 0
) -> Mixed:
    """The pairs of one step of process `rank`: rendered, then photographed under different conditions."""
    shares = SceneShares(
        config.planes_share,
        config.relief_share,
        config.rooms_share,
        config.facades_share,
        config.rgbd_share,
        config.lifted_share,
        config.megadepth_share,
        config.model_share,
    )
    strength = config.difficulty, config.light, config.hard_share, config.floating_share, config.full_light_share
    mix = SceneMix(*batch_size(config, step), shares, *strength)
    return mixed_scene(photos, recordings, mix, step_generator(config, step, 0, rank), device)


def batch_size(config: TrainConfig, step: int) -> tuple[int, int]:
    """Number of pairs and side of the batch, equal in all processes, so that none waits for another."""
    if random.Random(f"{config.seed} {step}").random() < config.large_share:
        return max(1, round(config.batch * (config.side / config.large_side) ** 2)), config.large_side
    return config.batch, config.side


def step_generator(config: TrainConfig, step: int, stream: int, rank: int) -> torch.Generator:
    """A generator that depends only on the seed, the step, the process and the stream."""
    seed = ((config.seed * 1_000_003 + step) * config.processes + rank) * 2 + stream
    return torch.Generator().manual_seed(seed)


def make_batch(
    photos: PhotoSet, recordings: Recordings | None, config: TrainConfig, step: int, device: torch.device, rank: int = 0
) -> TrainingBatch:
    """The training batch of one step."""
    kind, scene = make_scene(photos, recordings, config, step, device, rank)
    return TrainingBatch(scene.image0, scene.image1, supervise(scene), kind in SUBPIXEL)


@dataclass
class BatchSet(Dataset[TrainingBatch]):
    """The batches by step; a copy goes to each process that renders them."""

    photos: SharedPhotos
    folders: RecordingFolders
    config: TrainConfig
    device: torch.device  # where the scenes are rendered
    rank: int

    def __post_init__(self) -> None:
        self.recordings: Recordings | None = None

    def __getitem__(self, step: int) -> TrainingBatch:
        if self.recordings is None:
            self.recordings = load_recordings(self.folders)
        batch = make_batch(self.photos.unpacked(), self.recordings, self.config, step, self.device, self.rank)
        # GPU memory would have to outlive its process; host memory can be shared.
        return batch.to(torch.device("cpu"))


def load_batches(batches: BatchSet, steps: range, workers: int) -> DataLoader[TrainingBatch]:
    """The batches of `steps` in order; 0 workers render in this process, others ahead of the training."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        pin_memory=batches.device.type == "cuda",
        # Not a fork: CUDA and the threads of this process would not survive one.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_leave_at_once,
    )


def _leave_at_once(_worker: int) -> None:
    """Makes this process end without destructors, in which CUDA's threads would abort."""
    Finalize(None, os._exit, args=(0,), exitpriority=-100)  # after the cleanup of the queues
