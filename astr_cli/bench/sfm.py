"""Whole reconstructions beside those of COLMAP's SIFT: same photos, pairs, cameras and mapper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astr_cli.bench.records import BenchError
from astr_cli.evaluate.readers.gt_json import read_pose_folder
from astr_cli.images.catalogue import catalogue
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.matching.run.events import Listener
from astr_cli.options.bench import SfmOptions
from astr_cli.options.option import take
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.sfm.database.cameras import given_photos
from astr_cli.sfm.database.sharing import share_cameras
from astr_cli.sfm.database.sift import sift_database
from astr_cli.sfm.mapping.alignment import centre_error
from astr_cli.sfm.mapping.mapper import MappingError, ModelSummary, camera_centres, map_database
from astr_cli.sfm.reconstruction.reconstruct import reconstruct

OURS, SIFT = "astr", "SIFT"


@dataclass(frozen=True)
class SfmFigures:
    """One reconstruction."""

    scene: str
    matcher: str
    """astr or SIFT."""
    pairs: str
    """How the pairs were chosen."""
    photos: int
    registered: int
    points: int = 0
    mean_track: float = 0.0
    """Photos per point."""
    reprojection: float = 0.0
    """Mean, in pixels of the original photos."""
    centre_error: float | None = None
    """Largest distance of a camera centre from the true one after similarity alignment, over the largest distance of
    two true ones; None: the truth is not known, or not all photos are registered."""
    gps_photos: int | None = None
    """Photos within 10 m of their GPS position; None: the model is not aligned to any."""
    gps_error: float | None = None
    """Their median distance, metres."""


def bench_sfm(
    options: SfmOptions,
    listener: Listener,
    tell: Callable[[str], None] = lambda line: None,
    stop: StopFlag | None = None,
) -> Iterator[SfmFigures]:
    """Per folder, astr's reconstruction, then SIFT's. Raises BenchError: no photos in a folder; AstrError of steps;
    Interrupted when `stop` is set.
    """
    names = [folder.resolve().name for folder in options.folders]
    if len(set(names)) < len(names):
        raise BenchError(f"two of the folders are called {max(names, key=names.count)}; rename one")
    for folder, name in zip(options.folders, names, strict=True):
        if not folder.is_dir():
            raise BenchError(f"{folder}: no such folder; check the path")
        photos = folder / "images" if (folder / "images").is_dir() else folder
        yield from _scene(options, folder, photos, name, listener, tell, stop or StopFlag())


def _scene(
    options: SfmOptions,
    folder: Path,
    photos: Path,
    name: str,
    listener: Listener,
    tell: Callable[[str], None],
    stop: StopFlag,
) -> Iterator[SfmFigures]:
    truth = _truth(folder)
    out = options.work / name / OURS
    tell(f"{name}: astr")
    found = reconstruct(take(ReconstructOptions, options, photos=photos, out=out), listener, tell, stop=stop)
    yield _figures(name, OURS, found.pairs.method, found.model, truth)
    tell(f"{name}: SIFT")
    images = sorted({image for pair in found.pairs.pairs for image in pair})
    infos = catalogue(photos, images).infos
    database = options.work / name / SIFT / f"{options.sift_side}-{found.pairs.method}-{options.cameras.mode}.db"
    database.parent.mkdir(parents=True, exist_ok=True)
    stop.check()
    if not database.exists():
        sift_database(database, photos, infos, found.pairs.pairs, options.cameras, options.sift_side)
    try:
        given = given_photos(share_cameras(infos, options.cameras), options.cameras)
        model = map_database(database, photos, database.parent, options.mapping, tell, stop, given=given)
    except MappingError:
        yield SfmFigures(name, SIFT, found.pairs.method, len(images), 0)
    else:
        yield _figures(name, SIFT, found.pairs.method, model, truth)


def _truth(folder: Path) -> dict[str, np.ndarray]:
    """Name -> true camera centre; empty where it is not known."""
    if not (folder / "gt.json").is_file():
        return {}
    views = read_pose_folder(folder).views
    return {name: -view.rotation.T @ view.translation for name, view in views.items()}


def _figures(scene: str, matcher: str, pairs: str, model: ModelSummary, truth: dict[str, np.ndarray]) -> SfmFigures:
    centres = camera_centres(model.folder)
    names = sorted(truth)
    error = None
    if names and set(names) <= set(centres):
        error = centre_error(np.array([centres[name] for name in names]), np.array([truth[name] for name in names]))
    place = model.georeference
    return SfmFigures(
        scene=scene,
        matcher=matcher,
        pairs=pairs,
        photos=model.images,
        registered=len(model.registered),
        points=model.points,
        mean_track=model.mean_track,
        reprojection=model.reprojection_error,
        centre_error=error,
        gps_photos=place.within if place is not None else None,
        gps_error=place.median_error if place is not None else None,
    )
