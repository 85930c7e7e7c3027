"""Which photos share a camera, and what is known of it: from EXIF, the options, or a file of known cameras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.images.info import ImageInfo, focal_note, plausible_focal
from astr_cli.matching.photos.known_cameras import Size, known_cameras
from astr_cli.options.database import CameraOptions
from astr_cli.sfm.colmap import NewCamera, known_models, pycolmap, sensor_focal
from astr_cli.sfm.database.rigs import check_rig_files, check_rigs
from astr_cli.store.camera_models import MODELS, problem_of_camera
from astr_cli.store.cameras import Camera, read_cameras


class CameraOptionError(AstrError):
    """Invalid camera options."""


class Sharing(NamedTuple):
    """The cameras of photos."""

    known: dict[Camera, list[str]]
    """The photos of each known camera."""
    others: dict[str, list[str]]
    """The photos that share a camera by the options; the keys say by what."""
    warnings: tuple[str, ...]


def check_camera_options(options: CameraOptions) -> None:
    """Raises CameraOptionError for a camera model that COLMAP lacks, or parameters that do not fit it;
    RigError: files of rigs that cannot be read.
    """
    if options.model not in MODELS and not options.chooses:
        raise CameraOptionError(f"--camera-model {options.model}: choose one of auto, {', '.join(MODELS)}")
    if options.params is not None and options.chooses:
        raise CameraOptionError("--camera-params needs the model that they belong to; give it with --camera-model")
    if options.params is not None:
        _parsed(options.model, options.params)
    check_rig_files(options)


def _parsed(model: str, text: str) -> tuple[float, ...]:
    try:
        params = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise CameraOptionError(f"--camera-params {text}: give numbers separated by commas") from None
    problem = problem_of_camera(model, 1, 1, params)
    if problem is not None:
        raise CameraOptionError(f"--camera-params {text}: {problem}; choose another model with --camera-model")
    return params


def share_cameras(infos: Mapping[str, ImageInfo], options: CameraOptions) -> Sharing:
    """Decides which photos share a camera.

    Raises CamerasError: the known cameras are unusable; CameraOptionError: photos of two sizes are to share a camera;
    RigError: rigs that do not fit the photos.
    """
    known, warnings = _known(infos, options)
    named = {name for names in known.values() for name in names}
    others: dict[str, list[str]] = {}
    for name, info in infos.items():
        if name not in named:
            others.setdefault(_shared_by(info, options.sharing), []).append(name)
    for names in others.values():
        _require_one_size([infos[name] for name in names], options.sharing)
    note = focal_note(infos[name] for names in others.values() for name in names)
    return Sharing(known, others, (*warnings, *check_rigs(options, infos), *((note,) if note else ())))


def _known(infos: Mapping[str, ImageInfo], options: CameraOptions) -> tuple[dict[Camera, list[str]], list[str]]:
    """The photos of each known camera, and warnings."""
    if options.known is None or not infos:
        return {}, []
    sizes: dict[str, Size] = {name: info.size for name, info in infos.items()}
    found = known_cameras(read_cameras(options.known), sizes)
    groups: dict[Camera, list[str]] = {}
    for name, camera in found.cameras.items():
        groups.setdefault(camera, []).append(name)
    warnings = list(found.notes)
    without = [name for name in infos if name not in found.cameras]
    if without:
        warnings.append(
            f"{options.known}: has no camera for {len(without)} of {len(infos)} photos (for example {without[0]}); "
            "astr takes their cameras from EXIF or guesses them"
        )
    return groups, warnings


def _shared_by(info: ImageInfo, mode: str) -> str:
    """The same text for photos that share a camera."""
    width, height = info.size
    if mode == "single":
        return ""
    if mode == "per-folder":
        return str(PurePosixPath(info.name).parent)
    if mode == "auto" and info.camera:
        return f"camera {info.camera} {width}x{height}"
    if mode == "auto" and info.focal is not None:
        return f"focal {info.focal!r} {width}x{height}"
    return f"photo {info.name}"


def _require_one_size(infos: Sequence[ImageInfo], mode: str) -> None:
    first = infos[0]
    for other in infos:
        if other.size != first.size:
            raise CameraOptionError(
                f"--camera-mode {mode}: {other.name} is {other.width}x{other.height}, but {first.name} is "
                f"{first.width}x{first.height}, so they cannot share a camera; use --camera-mode auto or per-image"
            )


def new_cameras(sharing: Sharing, infos: Mapping[str, ImageInfo], options: CameraOptions) -> Iterator[NewCamera]:
    """The cameras to write. Raises CameraOptionError: this version of COLMAP lacks the model of one."""
    for camera, names in sharing.known.items():
        _require_model(camera.model)
        yield NewCamera(camera.model, (camera.width, camera.height), None, camera.params, tuple(names))
    params = None if options.params is None else _parsed(options.model, options.params)
    for names in sharing.others.values():
        photos = [infos[name] for name in names]
        focal = next((info.focal for info in photos if info.focal is not None), None)
        if focal is None and params is None:
            focal = _sensor_focal(photos[0])
        model = options.first_model(focal, photos[0].width)
        _require_model(model)
        yield NewCamera(model, photos[0].size, focal, params, tuple(names))


def _sensor_focal(info: ImageInfo) -> float | None:
    """From COLMAP's table of sensors, where EXIF names the camera but has no focal length in pixels."""
    focal = sensor_focal(info.path) if info.camera and info.odd_focal is None else None
    return focal if focal is not None and plausible_focal(focal, *info.size) else None


def _require_model(model: str) -> None:
    if model not in known_models():
        raise CameraOptionError(f"{model}: pycolmap {pycolmap.__version__} lacks this model; choose another")
