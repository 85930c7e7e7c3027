"""The formats of `astr export`: one entry per format. Nothing heavy is imported before one is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from astr_cli.sfm.exports.shared_keypoints import Tracked


class ExportFormat(NamedTuple):
    """How to write a format, and the next steps with it."""

    help: str
    """The files of the format."""
    write: Callable[[Tracked, Path, Path], None]
    """From the keypoints and the image root into a folder: (tracked, folder, root)."""
    next_steps: str = ""
    """Commands of the other program, with {out} and {images}; one per line."""


def _hloc(tracked: Tracked, folder: Path, root: Path) -> None:
    from astr_cli.sfm.exports.hdf5 import write_hloc

    write_hloc(tracked, folder)


def _imc(tracked: Tracked, folder: Path, root: Path) -> None:
    from astr_cli.sfm.exports.hdf5 import write_imc

    write_imc(tracked, folder)


def _colmap(tracked: Tracked, folder: Path, root: Path) -> None:
    from astr_cli.sfm.exports.text import write_colmap

    write_colmap(tracked, folder)


def _openmvg(tracked: Tracked, folder: Path, root: Path) -> None:
    from astr_cli.sfm.exports.text import write_openmvg

    write_openmvg(tracked, folder, root)


FORMATS: Mapping[str, ExportFormat] = MappingProxyType(
    {
        "hloc": ExportFormat("features.h5, matches.h5 (matches0) and pairs.txt", _hloc),
        "imc": ExportFormat("keypoints.h5 and matches.h5, as kornia and Kaggle have them", _imc),
        "colmap": ExportFormat(
            "text for feature_importer and matches_importer (for a database, use astr colmap-import)",
            _colmap,
            "colmap feature_importer --database_path {out}/database.db --image_path {images} "
            "--import_path {out}/keypoints\n"
            "colmap matches_importer --database_path {out}/database.db --match_list_path {out}/matches.txt "
            "--match_type raw",
        ),
        "openmvg": ExportFormat(
            "sfm_data.json, features and matches.putative.txt",
            _openmvg,
            "openMVG_main_GeometricFilter -i {out}/sfm_data.json -m {out}/matches.putative.txt -o {out}/matches.f.txt "
            "-g f\n"
            "openMVG_main_SfM -i {out}/sfm_data.json -m {out} -M matches.f.txt -o {out}/model -s INCREMENTAL",
        ),
    }
)

MODEL_HELP = (
    "undistorted: images/ and sparse/0, for 3DGS and gsplat. nerfstudio: the same with transforms.json and points.ply. "
    "openmvs: images/, sparse/ and stereo/, for OpenMVS and COLMAP's dense step."
)  # of models.py, which loads pycolmap
