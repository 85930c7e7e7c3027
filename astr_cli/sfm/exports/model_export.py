"""`export_model`: `astr export` of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.files import check_output_folder
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.options.config_file import read_config
from astr_cli.options.files import ExportOptions
from astr_cli.options.option import declared
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.exports.export import write_files
from astr_cli.sfm.exports.models import MODEL_FORMATS

CONFIG = "options.toml"  # of astr reconstruct, two folders above its models


@dataclass(frozen=True)
class ModelExportSummary:
    """The result of an export of a model."""

    out: Path
    format: str
    files: tuple[str, ...]
    """Relative to `out`, sorted."""
    images_root: Path
    images: int
    points: int


def export_model(options: ExportOptions, stop: StopFlag | None = None) -> ModelExportSummary:
    """Writes a model for another program into a folder; either all files are written, or none.

    Raises AstrError: a format of matches, no model, missing photos, existing files; Stopped: disk full; Interrupted
    when `stop` is set.
    """
    stop, folder = stop or StopFlag(), options.matches
    if options.format not in MODEL_FORMATS:
        raise AstrError(
            f"--format {options.format}: a model comes as one of {', '.join(MODEL_FORMATS)}; others need matches.h5"
        )
    check_output_folder(options.out)
    try:
        model = read_model(folder)
    except (RuntimeError, ValueError) as error:
        raise AstrError(f"{folder}: is no model of COLMAP ({str(error).splitlines()[0]}); give its folder") from None
    photos = options.images or _stored_photos(folder)
    form = MODEL_FORMATS[options.format]
    files = write_files(options, lambda made: form.write(folder, photos, made, stop), stop)
    names = tuple(file.as_posix() for file in files)
    return ModelExportSummary(options.out, options.format, names, photos, model.num_reg_images(), model.num_points3D())


def _stored_photos(folder: Path) -> Path:
    """The photos of a model that astr reconstruct made."""
    for above in list(folder.resolve().parents)[:2]:
        if (above / CONFIG).is_file():
            known = declared(ReconstructOptions)
            values = read_config(above / CONFIG, "reconstruct", known)
            (photos,) = (values[each.key] for each in known if each.name == "photos")
            return Path(photos)
    raise AstrError(f"{folder}: no {CONFIG} of astr reconstruct beside it tells the photos; give them with --images")
