"""Which intrinsics a model keeps: self-calibration is degenerate for many flights, whose focal length EXIF knows.

A camera whose focal length is known is mapped with it. Then `auto` releases it in a last adjustment, unless the photos
cannot determine it (Wu 2014, "Critical configurations for radial distortion self-calibration").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astr_cli.options.mapping import Intrinsics
from astr_cli.sfm.colmap import open_database
from astr_cli.sfm.mapping.camera_changes import Hold
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings, adjust, adjust_alone, copied
from astr_cli.sfm.mapping.depths import relative_depth
from astr_cli.wording import counted

FEW = 10  # photos of a camera: fewer do not calibrate it
PLAUSIBLE = 0.1  # of a focal length in EXIF, which is rounded to millimetres of the lens or of film
NARROW = 0.05  # positions less wide than this, by their length, lie on a line
PARALLEL = 15.0  # degrees from the mean view
NEARLY = 30.0  # the same for flat ground
FLAT = 0.02  # points less thick than this, by their extent, are flat ground
WIDE = 0.6  # of the width; lenses with a shorter focal length bend too much to map without distortion
LARGER = 1.05  # times the reprojection error without distortion: a distortion that adds more is wrong
BENT = 0.08  # of its distance from the middle: lenses move the corner of a photo by 5% at most, unless they are wide
KEPT = 0.9  # of the observations without distortion: a distortion that loses more is wrong, if it fits no better
CONTRADICTED = 1.5  # times the reprojection error: photos that fit a focal length this much worse contradict it


@dataclass(frozen=True)
class Calibration:
    """What is known of the cameras of a database before mapping, and what a mapping does with it."""

    choice: Intrinsics
    cameras: Mapping[int, Any]
    """pycolmap.Camera by number, before mapping."""
    given: frozenset[int]
    """Cameras from the user."""
    holds: Mapping[int, Hold]

    @property
    def known(self) -> frozenset[int]:
        """Cameras whose focal length is more than a guess."""
        return frozenset(number for number, camera in self.cameras.items() if camera.has_prior_focal_length)

    def held(self, what: str) -> frozenset[int]:
        """Cameras of which "focal" or "all" is held."""
        return frozenset(number for number, hold in self.holds.items() if hold.held == what)

    def for_mapping(self, settings: MapperSettings) -> MapperSettings:
        """Settings of the mapper: known cameras keep their distortion too, as outliers of the first photos bend it to
        absurd values; only that of wide-angle lenses is too strong for that.
        """
        focal = self.held("focal")
        wide = any(self.cameras[number].mean_focal_length() < WIDE * self.cameras[number].width for number in focal)
        return self.settings(settings) if wide else settings._replace(held=self.held("all") | focal)

    def settings(self, settings: MapperSettings) -> MapperSettings:
        """Settings of the last adjustment. COLMAP holds the focal lengths of all cameras or, of one, everything."""
        whole, focal = self.held("all"), self.held("focal")
        if whole | focal >= set(self.cameras):
            return settings._replace(held=whole, hold_focals=bool(focal))
        return settings._replace(held=whole | focal)


def calibration(database: Path, choice: Intrinsics, given: frozenset[str] = frozenset()) -> Calibration:
    """What is held while the photos of a database are mapped. given: the photos whose cameras the user gave."""
    with open_database(database) as opened:
        cameras = {camera.camera_id: camera for camera in opened.read_all_cameras()}
        own = frozenset(image.camera_id for image in opened.read_all_images() if image.name in given)
    found = Calibration(choice, cameras, own, {})
    if choice == "refine":
        return replace(found, holds={number: Hold("nothing", number in own) for number in cameras})
    whole = found.known if choice == "fixed" else own
    return replace(
        found,
        holds={
            number: Hold("all" if number in whole else "focal" if number in found.known else "nothing", number in own)
            for number in cameras
        },
    )


def settle(model: Any, database: Path, before: Calibration, settings: MapperSettings) -> tuple[Any, Calibration]:
    """The finished model with its intrinsics held or released by the choice, and what was done; `model` stays as it is.

    database: what the model was mapped from. settings: those of the incremental mapper.
    """
    if not before.known & set(model.cameras):
        return model, before
    if before.choice == "refine":
        return model, _told(before, model, _with_priors(model, before), model)
    held, before = _held(model, database, before, settings)
    free = copied(held)
    _fit(free, replace(before, holds={}))
    after = _decided(before, held, free)
    released = after.holds != before.holds and not after.held("focal") | after.held("all")
    taken, other = (free, held) if released else (held, free)
    after = _told(after, taken, other, free)
    if any(hold.held == "nothing" != before.holds[number].held for number, hold in after.holds.items()):
        _fit(taken, after)
        adjust(taken, database, after.settings(settings))
    return taken, after


def _held(model: Any, database: Path, before: Calibration, settings: MapperSettings) -> tuple[Any, Calibration]:
    """The model with known cameras held, their distortion released where that fits, and what is held then."""
    held = _with_priors(model, before)
    as_mapped = _same_cameras(model, held)
    if as_mapped and not before.held("focal"):
        return model, before
    _fit(held, before)
    adjust(held, database, before.settings(settings))
    for each in (model, held):
        each.update_point_3d_errors()
    seen = held.compute_num_observations() / max(model.compute_num_observations(), 1)
    error = held.compute_mean_reprojection_error() / max(model.compute_mean_reprojection_error(), 1e-9)
    bent = max((bend(held.camera(number)) for number in before.held("focal") & set(held.cameras)), default=0.0)
    if not as_mapped or (bent <= BENT and error <= LARGER and (seen >= KEPT or error <= KEPT)):
        return held, before
    reason = "adjusting its distortion spoils the model"
    holds = {
        number: hold._replace(held="all", reason=reason) if hold.held == "focal" else hold
        for number, hold in before.holds.items()
    }
    return model, replace(before, holds=holds)


def bend(camera: Any) -> float:
    """By which part of its distance from the middle the distortion of a pycolmap.Camera moves a photo's corner; 0 for a
    wide-angle lens, whose distortion may be large.
    """
    if camera.mean_focal_length() < WIDE * camera.width:
        return 0.0
    corner = np.zeros(2)
    straight = (corner - [camera.principal_point_x, camera.principal_point_y]) / camera.mean_focal_length()
    seen = camera.cam_from_img(corner)
    return float("inf") if seen is None else abs(float(np.linalg.norm(seen) / np.linalg.norm(straight)) - 1)


def _with_priors(model: Any, before: Calibration) -> Any:
    """A copy of a model with known focal lengths, and all of the cameras from the user, as they were before mapping."""
    made, known = copied(model), before.known
    for number in known & set(made.cameras):
        prior, camera = before.cameras[number], made.camera(number)
        params = np.array(camera.params)
        if number in before.given or before.choice == "fixed":
            params = np.array(prior.params)
        else:
            params[list(camera.focal_length_idxs())] = np.array(prior.params)[list(prior.focal_length_idxs())]
        camera.params = params
    if not _same_cameras(model, made):
        whole = known if before.choice == "fixed" else before.given
        _fit(made, replace(before, holds={number: Hold("all" if number in whole else "focal") for number in known}))
    return made


def _fit(model: Any, wanted: Calibration) -> None:
    """Bundle adjustment in place. Where some focal lengths are held and others are not, distortion comes first."""
    whole, focal = wanted.held("all") & set(model.cameras), wanted.held("focal") & set(model.cameras)
    if focal:
        adjust_alone(model, whole, hold_focals=True)
    if not focal or whole | focal < set(model.cameras):
        adjust_alone(model, whole | focal, hold_focals=False)


def _decided(before: Calibration, held: Any, free: Any) -> Calibration:
    """Which of the focal lengths from EXIF stay held, by the model with them held and the one with all released."""
    worse = held.compute_mean_reprojection_error() / max(free.compute_mean_reprojection_error(), 1e-9)
    holds = dict(before.holds)
    for number in before.held("focal") & set(free.cameras):
        reason = why_degenerate(free, number)
        change = _change(free, before, number)
        if not reason and abs(change) > PLAUSIBLE and worse < CONTRADICTED:
            reason = f"the photos alone would change it by {100 * change:+.0f}%, more than EXIF is wrong"
        holds[number] = holds[number]._replace(held="focal" if reason else "nothing", reason=reason)
    return replace(before, holds=holds)


def _told(after: Calibration, taken: Any, other: Any, free: Any) -> Calibration:
    """Adds to each known camera the result of the other choice; free: the model with all released."""
    depth = relative_depth(other) / relative_depth(taken)
    holds = dict(after.holds)
    for number in after.known & set(taken.cameras):
        focal = float(other.camera(number).mean_focal_length())
        reason = holds[number].reason or why_degenerate(free, number)
        holds[number] = holds[number]._replace(reason=reason, other_focal=focal, other_depth=depth)
    return replace(after, holds=holds)


def _change(model: Any, before: Calibration, number: int) -> float:
    """By which part of it a camera's focal length changed."""
    return float(model.camera(number).mean_focal_length() / before.cameras[number].mean_focal_length()) - 1


def _same_cameras(model: Any, other: Any) -> bool:
    return all(
        np.allclose(model.camera(number).params, other.camera(number).params, rtol=1e-9, atol=1e-12)
        for number in model.cameras
    )


def why_degenerate(model: Any, number: int) -> str:
    """Why the registered photos of a camera do not determine its intrinsics; empty: they do."""
    images = [model.image(image) for image in model.reg_image_ids() if model.image(image).camera_id == number]
    if len(images) < FEW:
        return f"{counted(len(images), 'photo')} {'is' if len(images) == 1 else 'are'} too few to determine it"
    if on_a_line(np.array([image.projection_center() for image in images])):
        return "photos taken along a line do not determine it"
    views = np.array([image.viewing_direction() for image in images])
    mean = views.mean(0) / max(float(np.linalg.norm(views.mean(0))), 1e-12)
    widest = float(np.degrees(np.arccos(np.clip(views @ mean, -1, 1))).max())
    if widest < PARALLEL:
        return "photos that all look in one direction do not determine it"
    if widest < NEARLY and is_flat(np.array([point.xyz for point in model.points3D.values()])):
        return "photos that look at flat ground in nearly one direction do not determine it"
    return ""


def on_a_line(positions: NDArray[np.float64]) -> bool:
    """Whether (M, 3) positions lie on a line."""
    spread = np.linalg.svd(positions - positions.mean(0), compute_uv=False)
    return len(spread) < 2 or bool(spread[1] < NARROW * spread[0])


def is_flat(points: NDArray[np.float64]) -> bool:
    """Whether (M, 3) points lie on a plane, but for a few far ones."""
    away = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    near = points[away <= np.quantile(away, 0.9)]
    spread = np.linalg.svd(near - near.mean(0), compute_uv=False)
    return bool(spread[2] < FLAT * spread[0])
