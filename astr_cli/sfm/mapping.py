"""From a verified database to a model: COLMAP's incremental mapping, the largest model first."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.sfm.colmap import pycolmap, quiet

SEED = 0
MIN_MODEL_IMAGES = 3
PLY = "points.ply"


class MappingError(AstrError):
    """No model came out of a database."""

    exit_code = 3


@dataclass(frozen=True)
class ModelSummary:
    """The largest model of a mapping."""

    folder: Path
    """COLMAP's binary model, and the points as a PLY file."""
    images: int
    """In the database."""
    registered: tuple[str, ...]
    """The images with a pose, by name."""
    missing: tuple[str, ...]
    """Those without."""
    points: int
    mean_track: float
    """Images that see a point."""
    reprojection_error: float
    """Mean, in pixels of the original images."""
    models: int
    """How many came out; the others are numbered on, by size."""


def map_database(database: Path, images: Path, out: Path) -> ModelSummary:
    """Maps a verified database into `out`/0, `out`/1, ..., largest first; older models of that name are replaced.

    images: the folder of the photos, for the colours of the points. Raises MappingError when there is no model.
    """
    names = _all_names(database)
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = SEED
    options.min_model_size = MIN_MODEL_IMAGES
    options.extract_colors = all((images / name).is_file() for name in names)
    with tempfile.TemporaryDirectory(prefix=".mapping-", dir=out) as scratch:
        with quiet():
            found = pycolmap.incremental_mapping(database, images, scratch, options)
        models = sorted(found.values(), key=_size, reverse=True)
        if not models:
            raise MappingError(
                f"{database}: no model came out of {len(names)} images; the photos overlap too little, or too few "
                "pairs were matched: add photos in between, or match at a greater --long-side"
            )
        for number, model in enumerate(models):
            folder = Path(scratch) / f"sorted-{number}"
            folder.mkdir()
            model.write(folder)
            model.export_PLY(folder / PLY)
        _remove_models(out)
        for number in range(len(models)):
            (Path(scratch) / f"sorted-{number}").rename(out / str(number))
    return _summary(out / "0", names, models)


def _size(model: pycolmap.Reconstruction) -> tuple[int, int]:
    return model.num_reg_images(), model.num_points3D()


def _all_names(database: Path) -> list[str]:
    opened = pycolmap.Database.open(database)
    try:
        return sorted(image.name for image in opened.read_all_images())
    finally:
        opened.close()


def _remove_models(out: Path) -> None:
    """Removes numbered models, and nothing else, of an earlier mapping."""
    for folder in out.iterdir():
        if folder.name.isdecimal() and (folder / "points3D.bin").is_file():
            shutil.rmtree(folder)


def _summary(folder: Path, names: list[str], models: list[pycolmap.Reconstruction]) -> ModelSummary:
    best = models[0]
    registered = {best.image(number).name for number in best.reg_image_ids()}
    return ModelSummary(
        folder=folder,
        images=len(names),
        registered=tuple(name for name in names if name in registered),
        missing=tuple(name for name in names if name not in registered),
        points=best.num_points3D(),
        mean_track=best.compute_mean_track_length(),
        reprojection_error=best.compute_mean_reprojection_error(),
        models=len(models),
    )


def camera_centres(model: Path) -> dict[str, tuple[float, float, float]]:
    """Name -> camera centre (world units) of every registered image of a COLMAP model folder."""
    loaded = pycolmap.Reconstruction(model)
    centres = {}
    for number in loaded.reg_image_ids():
        image = loaded.image(number)
        x, y, z = image.projection_center()
        centres[image.name] = (float(x), float(y), float(z))
    return centres
