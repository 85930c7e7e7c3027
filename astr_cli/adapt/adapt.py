"""`adapt`: makes a model of photos, trains on what is certain in it, and keeps the weights only if they are better."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.adapt.decision import Decision, decide
from astr_cli.adapt.split import Split, split_model
from astr_cli.errors import AstrError, Interrupted
from astr_cli.evaluate.readers.gt_json import read_pose_folder
from astr_cli.evaluate.run import Evaluation, evaluate_astr, match_options, scratch_folder
from astr_cli.files import check_output_folder, write_whole
from astr_cli.matching.resources.compute import find_device
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.matching.run.events import Listener
from astr_cli.model.checkpoint import header_config, read_tensors
from astr_cli.model.config import PRESETS
from astr_cli.options.adapt import AdaptOptions
from astr_cli.options.evaluate import EvalMatching
from astr_cli.options.matching import MatchingOptions
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.resources import weights_path
from astr_cli.sfm.reconstruction.reconstruct import reconstruct
from astr_cli.store.errors import JournalMismatch
from astr_cli.train.checkpoint import CHECKPOINT
from astr_cli.train.command import TrainRequest, train
from astr_cli.train.config import Change
from astr_cli.train.scene_mix import RecordingFolders
from astr_cli.wording import counted

# NOTE guesses, measured on two folders only (docs/training.md): as the weights were trained on a CPU, but with half of
# the batches from the model, and with a lower rate and a shorter average, because such a run is short.
RECIPE: tuple[Change, ...] = (
    ("batch", 4),
    ("side", 256),
    ("large_side", 320),
    ("large_share", 0.33),
    ("accumulate", 8),
    ("rate", 1e-4),
    ("warmup", 20),
    ("ema", 0.98),
    ("decay", 1),  # constant until a last step that is never reached: --minutes end the training
    ("frozen_norm", True),
    ("only_matcher", True),
    ("model_share", 1.0),
    ("hard_share", 0.25),
)
NEVER = 1_000_000  # steps
CHECKPOINTS = 25  # steps from one to the next


class Trained(NamedTuple):
    """A weights file, and how far its training went."""

    path: Path
    preset: str
    step: int
    hours: float


@dataclass(frozen=True)
class Adapted:
    """What `adapt` did."""

    out: Path
    written: bool
    """Whether the new weights are better, and were written to `out`."""
    photos: int
    steps: int
    decision: Decision


def adapt(
    options: AdaptOptions, listener: Listener, tell: Callable[[str], None], stop: StopFlag | None = None
) -> Adapted:
    """Reconstructs the photos, trains on all but one photo in five, and compares on pairs with the others.

    `options.out` is written only if the comparison is won. The same call resumes where an earlier one was stopped.
    `listener` gets the events of matching, `tell` a line per longer step. Raises Interrupted, and AstrError: too few
    pairs to decide, an existing `out`, and all that the steps raise.
    """
    stop = stop or StopFlag()
    start, folder = _read(weights_path(options.weights)), options.folder
    if options.out.exists():
        raise AstrError(f"{options.out}: already exists; choose another --out")
    check_output_folder(folder, "--work")
    find_device(options.device)
    model = _model(options, listener, tell, stop)
    split = _split(options, model, tell, stop)
    stop.check()
    trained = _train(options, start, split, tell)
    stop.check()
    tell(f"matching {counted(split.pairs, 'held-back pair')} with the old and with the new weights")
    old, new = (_evaluated(options, split, weights, listener, stop) for weights in (start.path, trained.path))
    decision = decide(old, new)
    if decision.better:
        write_whole(options.out, trained.path.read_bytes())
    return Adapted(options.out, decision.better, split.photos, trained.step - start.step, decision)


def _model(options: AdaptOptions, listener: Listener, tell: Callable[[str], None], stop: StopFlag) -> Path:
    """The folder of the largest model."""
    matching = MatchingOptions(weights=options.weights, long_side=options.long_side, device=options.device)
    request = ReconstructOptions(options.photos, options.folder / "model", report=False, matching=matching)
    try:
        found = reconstruct(request, listener, tell, stop=stop).model
    except JournalMismatch as error:
        remedy = f"choose another --work, or remove {options.folder} to start over"
        raise AstrError(f"{error.problem}; {remedy}") from None
    tell(f"a model of {counted(len(found.registered), 'photo')}, {counted(found.points, 'point')}")
    return found.folder


def _split(options: AdaptOptions, model: Path, tell: Callable[[str], None], stop: StopFlag) -> Split:
    """The photos for training and the pairs held back; a run on another model or from other weights is discarded."""
    tell("undistorting the photos")
    split = split_model(model, options.photos, options.folder, stop)
    inputs = [
        path.read_bytes() for path in (model / "images.bin", model / "points3D.bin", weights_path(options.weights))
    ]
    key = hashlib.sha256(b"".join(inputs) + str(options.seed).encode()).hexdigest()
    keep_run(options.folder, key)
    return split


def keep_run(work: Path, key: str) -> None:
    """Removes the training in `work` unless it has this key and a checkpoint: one that was killed before has none."""
    run, mark = work / "run", work / "run.key"
    if not mark.exists() or mark.read_text() != key or not (run / CHECKPOINT).exists():
        shutil.rmtree(run, ignore_errors=True)
        write_whole(mark, key)


def _train(options: AdaptOptions, start: Trained, split: Split, tell: Callable[[str], None]) -> Trained:
    """Trains for the rest of the minutes."""
    run = options.folder / "run"
    file = run / f"{start.preset}.safetensors"
    before = _read(file) if (run / CHECKPOINT).exists() else None
    left = options.minutes if before is None else max(0.0, options.minutes - 60 * (before.hours - start.hours))
    fresh = (*RECIPE, ("seed", options.seed), ("steps", NEVER), ("preset", start.preset))
    request = TrainRequest(
        photos=split.training / "images",
        recordings=RecordingFolders(model=split.training),
        out=None if before else run,
        resume=run if before else None,
        init=None if before else start.path,
        changes=() if before else fresh,
        minutes=left,
        every=CHECKPOINTS,
        device=options.device,
    )
    if before is None or left:
        tell(f"training on {counted(split.photos, 'photo')} for {left:.0f} minutes")
        try:
            train(request, tell)
        except Interrupted:
            raise Interrupted(f"{options.folder}: stopped; run the same command again to resume") from None
    return _read(file)


def _read(weights: Path) -> Trained:
    """Raises AstrError for weights of a model without a name, which cannot be trained further."""
    header = read_tensors(weights)[0]
    config = header_config(weights, header)
    preset = next((name for name, known in PRESETS.items() if known == config), None)
    if preset is None:
        raise AstrError(f"{weights}: is none of the models {', '.join(PRESETS)}; only those can be trained further")
    return Trained(weights, preset, int(header["step"]), float(header["hours"]))


def _evaluated(
    options: AdaptOptions, split: Split, weights: Path, listener: Listener, stop: StopFlag
) -> Evaluation[Any]:
    stop.check()
    benchmark = read_pose_folder(split.held_back, "held-back pairs")
    matching = EvalMatching(weights=str(weights), long_side=options.long_side, device=options.device, focus="off")
    with scratch_folder() as scratch:
        return evaluate_astr(benchmark, match_options(benchmark, Path(scratch), matching), listener)
