"""A second pass with a model: its observations refined by its surfaces, triangulated and adjusted again."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.matching.resources.signals import StopFlag
from astr_cli.options.refinement import Rule
from astr_cli.refine.observations import Floats, Observations
from astr_cli.refine.planning import plan_from_surfaces
from astr_cli.refine.pyramid import Pyramid
from astr_cli.refine.rules import Summary, kept_by, summary
from astr_cli.refine.settings import Settings
from astr_cli.refine.surfaces import tangent_views
from astr_cli.refine.tracks import refine_tracks
from astr_cli.sfm.database.pair_ids import pair_images
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings, adjust, copied, triangulate
from astr_cli.sfm.tracks.match_rows import MatchedImage
from astr_cli.sfm.tracks.refinement import KeptSteps, largest_error, photo_pixels, steps_heard
from astr_cli.wording import counted

CORNER = 0.5  # COLMAP's origin is the corner of the first pixel, astr's its centre
# Surfaces tell the maps but for the shift; starts at the reprojection are too good for coarse levels, which drift.
SETTINGS = Settings(unknowns=2, coarse_above=1e9)
THRESHOLDS = (
    "mapper.filter_max_reproj_error",
    "triangulation.complete_max_reproj_error",
    "triangulation.merge_max_reproj_error",
)
KEPT_POINTS = 0.9  # of the points of the first model: with fewer, the second one is not taken


class ModelObservations(NamedTuple):
    """Where a model sees its points; rows and photos as in `seen`."""

    seen: Observations
    points: Floats  # (T, 3) world
    images: NDArray[np.int64]  # (N,) COLMAP's number of each photo
    keypoint: NDArray[np.int64]  # (O,) the index of each observation in the photo's keypoints


@dataclass(frozen=True)
class ModelRefiner:
    """Refines the keypoints of a model on the original pixels, and the model with them."""

    images: Sequence[MatchedImage]
    pixels: Callable[[int], Pyramid]
    """The pyramid of a photo, by its place in `images`."""
    rule: Rule
    threads: int = 1
    settings: Settings = field(default_factory=lambda: SETTINGS)

    def refine(
        self,
        model: Any,
        database: Path,
        photos: Path,
        scratch: Path,
        settings: MapperSettings,
        tell: Callable[[str], None] = lambda line: None,
    ) -> Any:
        """The refined pycolmap.Reconstruction, or `model` itself where that is better; neither it nor the database
        changes.

        photos: their folder, for the colours of the points. scratch: a folder for files in between. settings: those of
        the incremental mapper.
        `tell` gets lines on what was done. Raises ImageError: a photo cannot be read.
        """
        work = scratch / "refining"
        work.mkdir()
        copy = work / database.name
        shutil.copyfile(database, copy)
        done = self._refine_keypoints(model, copy, work, tell, settings.flag)
        refined = _mapped_again(model, copy, photos, work, stricter(settings, self.images))
        shutil.rmtree(work)
        return better(model, refined, done, tell)

    def _refine_keypoints(
        self, model: Any, database: Path, work: Path, tell: Callable[[str], None], stop: StopFlag
    ) -> Summary:
        """Writes refined keypoints into the database, without matches of those that the rule drops."""
        found = observations(model, self.images)
        seen = found.seen
        views = tangent_views(found.points, seen, _centres(model, found.images), _projection(model, found.images))
        plan = plan_from_surfaces(seen, views.jacobians, views.projected, self.settings.half)
        kept = KeptSteps(work / "steps", "")  # on disk, so that templates need no memory
        load = self._loaded(model, found.images)
        refined = refine_tracks(seen, plan, load, self.settings, kept, self.threads, steps_heard(tell, stop))
        stays = kept_by(self.rule, seen, refined)
        write_refined(database, found, refined.xy, stays)
        return summary(refined, stays)

    def _loaded(self, model: Any, images: NDArray[np.int64]) -> Callable[[int], Pyramid]:
        places = {each.name: place for place, each in enumerate(self.images)}
        return lambda photo: self.pixels(places[model.image(images[photo]).name])


def stricter(settings: MapperSettings, images: Sequence[MatchedImage]) -> MapperSettings:
    """Settings whose thresholds follow the precision of refined keypoints; `settings` win."""
    limit = largest_error(images)
    return settings._replace(options=(*(f"{name}={limit:.6f}" for name in THRESHOLDS), *settings.options))


def observations(model: Any, images: Sequence[MatchedImage]) -> ModelObservations:
    """Every observation of the model's points in `images`, by photo; where a point has two in a photo, the first."""
    matched = {each.name: each for each in images}
    numbers = [number for number in sorted(model.reg_image_ids()) if model.image(number).name in matched]
    points = sorted(model.point3D_ids())
    track = {point: place for place, point in enumerate(points)}
    columns: list[tuple[NDArray[np.int32], NDArray[np.int64], Floats]] = []
    for number in numbers:
        held = [
            (track[each.point3D_id], row, *each.xy)
            for row, each in enumerate(model.image(number).points2D)
            if each.has_point3D()
        ]
        table = np.array(held, np.float64).reshape(-1, 4)
        of_point, first = np.unique(table[:, 0].astype(np.int32), return_index=True)
        columns.append((of_point, table[first, 1].astype(np.int64), table[first, 2:] - CORNER))
    used = [matched[model.image(number).name] for number in numbers]
    photo = np.repeat(np.arange(len(numbers), dtype=np.int32), [len(tracks) for tracks, _, _ in columns])
    tracks, keypoint, xy = (np.concatenate(column) for column in zip(*columns, strict=True))
    pixel = np.array([photo_pixels(each) for each in used])[photo]
    seen = Observations(photo, tracks, xy, pixel, np.array([each.size for each in used], np.int32))
    world = np.array([model.point3D(point).xyz for point in points], np.float64).reshape(-1, 3)
    return ModelObservations(seen, world, np.array(numbers), keypoint)


def write_refined(database: Path, found: ModelObservations, xy: Floats, stays: NDArray[np.bool_]) -> None:
    """Moves keypoints of a database to xy (O, 2), in astr's convention, and takes those that do not stay (O,) out of
    its geometries; all keep their numbers.
    """
    gone: dict[int, NDArray[np.int64]] = {}
    with closing(sqlite3.connect(database)) as connection:
        for photo, number in enumerate(found.images.tolist()):
            mine = np.flatnonzero(found.seen.photo == photo)
            query = "SELECT rows, cols, data FROM keypoints WHERE image_id = ?"
            rows, columns, data = connection.execute(query, (number,)).fetchone()
            points = np.frombuffer(data, "<f4").reshape(rows, columns).copy()
            points[found.keypoint[mine], :2] = xy[mine] + CORNER
            connection.execute("UPDATE keypoints SET data = ? WHERE image_id = ?", (points.tobytes(), number))
            gone[number] = found.keypoint[mine[~stays[mine]]]
        _drop_inliers(connection, gone)
        connection.commit()


def _drop_inliers(connection: sqlite3.Connection, gone: dict[int, NDArray[np.int64]]) -> None:
    """Removes inliers with a keypoint that is gone, by image, from the geometries."""
    query = "SELECT pair_id, data FROM two_view_geometries WHERE rows > 0"
    for pair, data in connection.execute(query).fetchall():
        inliers = np.frombuffer(data, "<u4").reshape(-1, 2)
        ends = enumerate(pair_images(pair))
        lost = np.any([np.isin(inliers[:, end], gone.get(image, [])) for end, image in ends], axis=0)
        if lost.any():
            left = np.ascontiguousarray(inliers[~lost])
            change = "UPDATE two_view_geometries SET rows = ?, data = ? WHERE pair_id = ?"
            connection.execute(change, (len(left), left.tobytes(), pair))


def _mapped_again(model: Any, database: Path, photos: Path, work: Path, settings: MapperSettings) -> Any:
    """Points triangulated from the database with the model's poses, and all of it adjusted; a new model."""
    out = work / "out"
    out.mkdir()
    refined = triangulate(copied(model), database, photos, out, settings)
    adjust(refined, database, settings)
    refined.update_point_3d_errors()
    return refined


def better(model: Any, refined: Any, done: Summary, tell: Callable[[str], None]) -> Any:
    """The refined model if it keeps photos and points and fits better, else the first; `tell` says which and why."""
    points, before = refined.num_points3D(), model.num_points3D()
    error, error_before = refined.compute_mean_reprojection_error(), model.compute_mean_reprojection_error()
    figures = f"{counted(points, 'point')} instead of {before}, {error:.3f} px instead of {error_before:.3f}"
    whole = refined.num_reg_images() >= model.num_reg_images() and points >= KEPT_POINTS * before
    if not whole or error >= error_before:
        tell(f"refined by the model: {figures}; the model before is better and stays")
        return model
    tell(
        f"refined by the model: {counted(done.refined, 'keypoint')} by {done.shift:.2f} px in the median, {done.left} "
        f"left, {done.dropped} dropped; {figures}"
    )
    return refined


def _centres(model: Any, images: NDArray[np.int64]) -> Floats:
    """(N, 3) camera centres, world."""
    return np.array([model.image(number).projection_center() for number in images], np.float64)


def _projection(model: Any, images: NDArray[np.int64]) -> Callable[[int, Floats], Floats]:
    """World points (K, 3) to astr's pixels (K, 2) of a photo; NaN behind the camera."""

    def project(photo: int, points: Floats) -> Floats:
        image = model.image(images[photo])
        pixels: Floats = np.asarray(image.camera.img_from_cam(image.cam_from_world() * points), np.float64)
        return pixels - CORNER

    return project
