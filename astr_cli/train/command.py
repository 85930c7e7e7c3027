"""Runs `astr train`: starts or resumes a run, trains, writes checkpoints and prints progress."""

import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from astr_cli.errors import AstrError, Interrupted
from astr_cli.files import check_output_folder
from astr_cli.images.charts import NoMatplotlib
from astr_cli.matching.resources.compute import find_device
from astr_cli.matching.resources.progress import Progress
from astr_cli.model.config import PRESETS
from astr_cli.store.errors import disk_full, is_full
from astr_cli.train.batches import BatchSet, load_batches
from astr_cli.train.checkpoint import CHECKPOINT, LOG, Log, read_config, resume_run, save_run, start_run
from astr_cli.train.config import Change, TrainConfig
from astr_cli.train.curves import CURVES, draw_curves
from astr_cli.train.loop import StepReport, TrainState, run
from astr_cli.train.parallel import process_rank, run_processes
from astr_cli.train.photos import SharedPhotos, held_out_photos, load_photos
from astr_cli.train.scene_mix import RecordingFolders, load_recordings
from astr_cli.train.validation import FILE, append_validation, validate

PRINT_EVERY = 25  # steps
VALIDATE_EVERY = 4  # checkpoints


@dataclass(frozen=True)
class TrainRequest:
    """The command line of `astr train`."""

    photos: Path
    recordings: RecordingFolders
    out: Path | None
    resume: Path | None
    init: Path | None
    changes: tuple[Change, ...]  # to TrainConfig's defaults
    minutes: float | None
    every: int
    device: str
    workers: int | None = None  # processes that render batches; None: the default of the device


def train(request: TrainRequest, echo: Callable[[str], None]) -> None:
    """Run the request. Raises AstrError for bad options, Interrupted (after a checkpoint) for a signal."""
    folder, config = check_request(request)
    check_output_folder(folder)
    find_device(request.device)
    if config.processes > 1:
        # Its errors are reported here; in another process they would look like bugs.
        load_state(request, config, torch.device("cpu"))
    try:
        run_processes(config.processes, _train_process, request, folder, config, echo)
    except OSError as error:
        if error.filename is None:  # standard output
            raise
        if is_full(error):
            raise disk_full(str(folder)) from None
        raise AstrError(f"{folder}: cannot be written ({error.strerror or error}); choose another --out") from None


def _train_process(request: TrainRequest, folder: Path, config: TrainConfig, echo: Callable[[str], None]) -> None:
    """One process of a run; the first one writes the log and the checkpoints."""
    device = find_device(request.device)
    state = load_state(request, config, device)
    photos = SharedPhotos.of(load_photos(request.photos, validation=False))
    load_recordings(request.recordings)  # reports faulty recordings before the training starts
    first = process_rank() == 0
    held_out = held_out_photos(request.photos) if first else None
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        echo(f"{len(photos.shapes)} photos, model {config.preset}, step {state.step} of {config.steps}, {device}")
    log, curves, rows = Log(folder), _Curves(folder, echo), []
    until = (state.step // PRINT_EVERY + 1) * PRINT_EVERY
    early = Progress(echo, "first steps", until, "step", state.step)
    deadline = math.inf if request.minutes is None else time.monotonic() + 60 * request.minutes

    def listen(report: StepReport) -> None:
        if not first:
            return
        log.append(report)
        rows.append(report)
        if report.step < until:  # the first line of figures
            early.at(report.step)
        if report.step % PRINT_EVERY == 0:
            echo(line(rows))
            rows.clear()
        if report.step % request.every == 0:
            save_run(folder, state, config)
            curves.draw()
        if held_out is not None and report.step % (VALIDATE_EVERY * request.every) == 0:
            found = validate(state.average, held_out, device)
            append_validation(folder, report.step, found)
            curves.draw()
            echo(f"validation: {found.text()}")

    batches = BatchSet(photos, request.recordings, config, device, process_rank())
    if config.autocast:  # the products in float32 have bf16 factors
        torch.set_float32_matmul_precision("high" if device.type == "cuda" else "medium")
    workers = workers_for(device) if request.workers is None else request.workers
    with _StopFlag() as stop:
        loader = load_batches(batches, range(state.step * config.accumulate, config.steps * config.accumulate), workers)
        run(state, config, loader, device, lambda: stop.asked or time.monotonic() > deadline, listen)
    if first:
        save_run(folder, state, config)
        curves.draw()
        echo(f"step {state.step}: wrote {folder / config.preset}.safetensors")
    if stop.asked:
        raise Interrupted(f"stopped at step {state.step}; resume with: astr train --resume {folder} --photos ...")


def check_request(request: TrainRequest) -> tuple[Path, TrainConfig]:
    """The run's folder and config. Raises AstrError if the options contradict each other or the run to resume."""
    if request.resume is not None and request.out is None:
        return request.resume, _config_to_resume(request, request.resume)
    if request.out is not None and request.resume is None:
        return request.out, _new_config(request, request.out)
    raise AstrError("give the folder of a new run with --out RUN_DIR, or of an existing one with --resume RUN_DIR")


def load_state(request: TrainRequest, config: TrainConfig, device: torch.device) -> TrainState:
    """The state at the start of the run. Raises AstrError for a checkpoint or weights that do not fit."""
    if request.resume is not None:
        return resume_run(request.resume, device)[0]
    return start_run(config, device, request.init)


def _config_to_resume(request: TrainRequest, folder: Path) -> TrainConfig:
    stored = read_config(folder)
    if stored.decay:  # the rate is constant until then, so the end may move without changing earlier steps
        stored = stored.changed(tuple(change for change in request.changes if change[0] in ("steps", "decay")))
    wanted = stored.changed(request.changes)
    if stored.differences(wanted):
        raise AstrError(
            f"{folder}: --resume needs the same options as before, but they differ: "
            f"{stored.differences(wanted)}; use --init for a new run from its weights"
        )
    if request.recordings.megadepth is not None and stored.megadepth_share == 0:
        raise AstrError(
            f"{folder}: the run does not train on MegaDepth (megadepth_share=0); resume without --megadepth, or use "
            "--init for a new run from its weights"
        )
    if request.recordings.model is not None and stored.model_share == 0:
        raise AstrError(
            f"{folder}: the run does not train on models (model_share=0); resume without --model, or use --init for a "
            "new run from its weights"
        )
    return stored


def _new_config(request: TrainRequest, folder: Path) -> TrainConfig:
    config = TrainConfig().changed(request.changes)
    if config.preset not in PRESETS:
        raise AstrError(f"no preset '{config.preset}'; choose one of {', '.join(PRESETS)}")
    for name, side in (("--side", config.side), ("large_side", config.large_side)):
        if side % 32:
            raise AstrError(f"{name} {side}: not a multiple of 32")
    if (folder / CHECKPOINT).exists():
        raise AstrError(f"{folder}: already contains a run; resume it with --resume {folder}, or choose another folder")
    taken = [name for name in (f"{config.preset}.safetensors", LOG, FILE, CURVES) if os.path.lexists(folder / name)]
    if taken:
        raise AstrError(f"{folder}: contains {taken[0]} but no run; choose another folder with --out")
    return config


def workers_for(device: torch.device) -> int:
    """The number of extra processes that render batches; 0 on a CPU, where they would take cores from the training."""
    return 0 if device.type == "cpu" else max(1, min(12, (os.cpu_count() or 1) - 2))


def line(rows: list[StepReport]) -> str:
    """One line of progress: means over the last rows."""

    def mean(values: list[float]) -> float:
        known = [value for value in values if math.isfinite(value)]
        return sum(known) / max(len(known), 1)

    inside = "/".join(f"{100 * mean([row.inside[k] for row in rows]):.0f}" for k in range(len(rows[-1].inside)))
    speed = sum(row.pairs for row in rows) / sum(row.seconds for row in rows)
    return (
        f"step {rows[-1].step:6d}  loss {mean([r.loss for r in rows]):6.3f}"
        f"  coarse {mean([r.coarse for r in rows]):6.3f}"
        f"  correct {100 * mean([r.accuracy for r in rows]):5.1f}%  in spot {inside}%"
        f"  fine {mean([r.fine_error for r in rows]):5.2f} px  {speed:5.1f} pairs/s"
    )


class _Curves:
    """Keeps curves.png up to date, or reports once that matplotlib is missing."""

    def __init__(self, folder: Path, echo: Callable[[str], None]) -> None:
        self.folder, self.echo, self.missing = folder, echo, False

    def draw(self) -> None:
        if self.missing:
            return
        try:
            draw_curves(self.folder)
        except NoMatplotlib as error:
            self.missing = True
            self.echo(f"no {CURVES}: {error}")


class _StopFlag:
    """Records SIGINT and SIGTERM instead of ending in the middle of a step."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "_StopFlag":
        self.previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.asked = True
