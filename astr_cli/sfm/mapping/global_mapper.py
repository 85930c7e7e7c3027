"""COLMAP's global and hierarchical mappers in a process of their own: they cannot be cancelled, but it can be ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from astr_cli.errors import AstrError
from astr_cli.matching.resources.progress import Progress
from astr_cli.sfm.colmap import HEARD, open_database, read_model
from astr_cli.sfm.database.cameras import held_by
from astr_cli.sfm.mapping.colmap_mappers import (
    MapperSettings,
    calibrate,
    global_mapping,
    global_options,
    hierarchical_mapping,
    hierarchical_options,
)

START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from astr_cli.sfm.mapping.global_mapper import main; main()"
)
WILD = 2.0  # a found focal length this many times the guess, or its inverse, is wrong


class GlobalMapperError(AstrError):
    """The process of a mapper ended by itself."""

    exit_code = 3


def map_globally(database: Path, images: Path, scratch: Path, settings: MapperSettings) -> list[Any]:
    """The models (pycolmap.Reconstruction) of a database by the global mapper; focal lengths that are unknown are
    estimated first, in a copy. scratch: a folder for files in between.

    Raises Interrupted when `settings.stop` is set, AstrError for an option that the mapper lacks, GlobalMapperError.
    """
    global_options(settings)
    return _map_elsewhere("global", database, images, scratch, settings)


def map_in_groups(database: Path, images: Path, scratch: Path, settings: MapperSettings) -> list[Any]:
    """The same by the hierarchical mapper, which estimates focal lengths itself."""
    hierarchical_options(settings)
    return _map_elsewhere("hierarchical", database, images, scratch, settings)


def _map_elsewhere(mapper: str, database: Path, images: Path, scratch: Path, settings: MapperSettings) -> list[Any]:
    out = scratch / mapper
    out.mkdir()
    places = [mapper, *(str(path) for path in (database, images, out))]
    command = [sys.executable, "-c", START, json.dumps(sys.path), *places, json.dumps(_portable(settings))]
    with (
        (scratch / f"{mapper}.log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as process,
    ):
        try:
            _wait(process, settings, mapper)
        finally:
            process.kill()
    settings.flag.check()
    if process.returncode:
        end = signal.Signals(-process.returncode).name if process.returncode < 0 else f"code {process.returncode}"
        raise GlobalMapperError(f"{database}: COLMAP's {mapper} mapper ended ({end}); use --mapper incremental")
    return [read_model(folder) for folder in sorted(out.glob("model-*"))]


def _portable(settings: MapperSettings) -> dict[str, Any]:
    """The settings without flag and progress, for JSON."""
    record = settings._replace(held=frozenset())._asdict()
    del record["stop"], record["tell"]
    return {**record, "held": sorted(settings.held)}


def map_here(database: Path, images: Path, out: Path, settings: MapperSettings) -> list[Any]:
    """The same in this process, which cannot hear signals meanwhile."""
    copy = out / "calibrated.db"
    shutil.copyfile(database, copy)
    held = held_by(copy)
    if held.known_focals < held.cameras and not _calibrate(copy, settings.seed):
        shutil.copyfile(database, copy)
    return global_mapping(copy, images, out, settings)


def main() -> None:
    """The other process: maps, and writes the models. It ends when the one that waits for it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the other one decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    database, images, out = map(Path, sys.argv[3:6])
    record = json.loads(sys.argv[6])
    settings = MapperSettings(**{**record, "held": frozenset(record["held"]), "options": tuple(record["options"])})
    mapping = hierarchical_mapping if sys.argv[2] == "hierarchical" else map_here
    for number, model in enumerate(mapping(database, images, out, settings)):
        folder = out / f"model-{number:04d}"
        folder.mkdir()
        model.write(folder)


def _end_with_parent() -> None:
    """Waits until standard input ends: its other end is in the hand of the process that waits."""
    os.read(sys.stdin.fileno(), 1)  # sys.stdin's own lock would end the interpreter badly
    os._exit(1)


def _wait(process: subprocess.Popen[bytes], settings: MapperSettings, mapper: str) -> None:
    """Until the process ends or the flag is set."""
    progress = Progress(settings.tell, f"{mapper} mapping")
    while not settings.flag.requested:
        try:
            process.wait(HEARD)
        except subprocess.TimeoutExpired:
            progress.at()
        else:
            return


def _calibrate(database: Path, seed: int) -> bool:
    """Writes focal lengths estimated from fundamental matrices; False: they are implausible.

    For photos from one side of a flat relief COLMAP estimates 75 pixels instead of 480; the usual guess is 614.
    """
    before = _focal_lengths(database)
    calibrate(database, seed)
    after = _focal_lengths(database)
    return all(before[number] / WILD < focal < before[number] * WILD for number, focal in after.items())


def _focal_lengths(database: Path) -> dict[int, float]:
    with open_database(database) as opened:
        return {camera.camera_id: camera.mean_focal_length() for camera in opened.read_all_cameras()}
