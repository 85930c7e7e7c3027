"""The cameras after a mapping compared with those before it: implausible focal lengths and distortions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from astr_cli.sfm.colmap import pycolmap

ASTRAY = 1.5  # times the focal length of EXIF or of the user, or its inverse
ASTRAY_GUESS = 3.0  # the same for the guess: from 1.2 long sides to wide-angle and to 100 mm
STRONGEST = 1.0  # a distortion this large bends no lens
POLYNOMIAL = ("k", "k1")  # the names of the first coefficient of the polynomial models
RATIONAL = "FULL_OPENCV"  # whose coefficients may be large and cancel out


Held = Literal["nothing", "focal", "all"]


class Hold(NamedTuple):
    """What a mapping holds of a camera's intrinsics, and why."""

    held: Held = "nothing"
    given: bool = False
    """Whether the user gave the camera."""
    reason: str = ""
    """Why it is held, or why it should have been; empty: neither."""
    other_focal: float | None = None
    """Pixels: the result of the other choice from the same model; None: there is no other choice."""
    other_depth: float | None = None
    """Distance of the points from the cameras by the other choice, over that of the model."""


class CameraFigures(NamedTuple):
    """One camera of a model."""

    number: int
    photos: int
    """Registered."""
    first: str
    """The first of them by name."""
    focal: float
    """Pixels; the mean of two."""
    prior: float
    """Before the mapping."""
    known: bool
    """Whether the prior is more than a guess."""
    distortion: float | None
    """The first radial coefficient; None: the model has none."""

    hold: Hold = Hold()

    @property
    def astray(self) -> bool:
        """Whether the camera is implausible."""
        limit = ASTRAY if self.known else ASTRAY_GUESS
        good = self.prior / limit <= self.focal <= self.prior * limit
        return not good or (self.distortion is not None and abs(self.distortion) > STRONGEST)


def camera_figures(
    model: Any, before: Mapping[int, Any], holds: Mapping[int, Hold] | None = None
) -> tuple[CameraFigures, ...]:
    """The cameras of a pycolmap.Reconstruction with registered photos, by number; before: those of its database.

    holds: what was held of them.
    """
    names: dict[int, list[str]] = {}
    for number in model.reg_image_ids():
        image = model.image(number)
        names.setdefault(image.camera_id, []).append(image.name)
    holds = holds or {}
    return tuple(
        CameraFigures(
            number=number,
            photos=len(photos),
            first=min(photos),
            focal=float(model.camera(number).mean_focal_length()),
            prior=float(before[number].mean_focal_length()),
            known=bool(before[number].has_prior_focal_length),
            distortion=_distortion(model.camera(number)),
            hold=holds.get(number, Hold()),
        )
        for number, photos in sorted(names.items())
        if len(model.camera(number).focal_length_idxs())  # a panorama has none
    )


def cameras_astray(cameras: Iterable[CameraFigures]) -> tuple[CameraFigures, ...]:
    """The implausible cameras, furthest from their prior first."""
    found = [camera for camera in cameras if camera.astray]
    return tuple(sorted(found, key=lambda camera: -max(camera.focal / camera.prior, camera.prior / camera.focal)))


def _distortion(camera: pycolmap.Camera) -> float | None:
    if camera.model.name == RATIONAL:
        return None
    names = [name.strip() for name in camera.params_info.split(",")]
    return next((float(camera.params[names.index(name)]) for name in POLYNOMIAL if name in names), None)
