"""`localize`: the whole of `astr localize`, from a folder of queries to their poses in a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.files import check_output_folder
from astr_cli.images.catalogue import catalogue
from astr_cli.images.info import ImageInfo
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.matching.run.events import Listener, MatchSummary
from astr_cli.matching.run.match import match_pairs
from astr_cli.options.localize import LocalizeOptions
from astr_cli.options.matching import MatchOptions
from astr_cli.options.option import take
from astr_cli.pairs.writing import write_pairs
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.localization.correspondences import Correspondences, correspondences, seen_points
from astr_cli.sfm.localization.pose import Pose, find_pose, query_camera
from astr_cli.sfm.localization.queries import Place, choose_pairs, choose_queries, common_place
from astr_cli.sfm.localization.results import Localized, add_queries, write_poses
from astr_cli.sfm.mapping.point_cloud import write_ply
from astr_cli.sfm.own_files import PLY, require_own_files
from astr_cli.store.cameras import CameraBook, read_cameras
from astr_cli.store.matches_file import MatchesFile
from astr_cli.wording import first_line


class LocalizeSummary(NamedTuple):
    """The result of a localization."""

    out: Path
    queries: tuple[Localized, ...]
    matching: MatchSummary


def localize(
    options: LocalizeOptions, listener: Listener, tell: Callable[[str], None], stop: StopFlag
) -> LocalizeSummary:
    """Matches queries with photos of a model, and finds their poses from the model's points.

    OUT gets pairs.txt, matches.h5, poses.txt and sparse/0. Raises AstrError: no model, no queries, cameras that cannot
    be used, or as `match_pairs` does; Interrupted when `stop` is set.
    """
    check_output_folder(options.out)
    model = _model(options.model)
    place = common_place(options.queries, options.images)
    queries = choose_queries(options, place, model)
    cameras = None if options.query_cameras is None else read_cameras(options.query_cameras)
    infos = _infos(options.queries, queries)
    photos = {image.name: image for image in model.images.values() if image.has_pose and image.num_points3D}
    pairs = choose_pairs(options, place, queries, sorted(photos), tell)
    stop.check()
    options.out.mkdir(parents=True, exist_ok=True)
    listed = options.out / "pairs.txt"
    write_pairs(listed, [(place.query(query), place.photo(photo)) for query, photo in pairs], overwrite=True)
    matching = take(
        MatchOptions, options.matching, pairs=listed, images=place.root, out=options.out / "matches.h5", prune=True
    )
    matched = match_pairs(matching, listener)
    stop.check()
    found = _correspondences(matching.out, place, pairs, photos)
    poses, results = {}, []
    for name in queries:
        stop.check()
        pose, result = _localized(options, infos[name], found.get(name), model, cameras)
        results.append(result)
        if pose is not None:
            poses[name] = pose
    _write(options, model, poses, found)
    return LocalizeSummary(options.out, tuple(results), matched)


class _Found(NamedTuple):
    """The correspondences of a query, and its pixels per matched pixel."""

    rows: Correspondences
    pixel: float


def _localized(
    options: LocalizeOptions, info: ImageInfo, found: _Found | None, model: Any, cameras: CameraBook | None
) -> tuple[Pose | None, Localized]:
    if found is None:
        return None, Localized(info.name, 0, 0, 0, 0.0, None, "it was matched with no photo of the model")
    known = None if cameras is None else cameras.for_image(info.name, info.width, info.height)
    points = np.array([model.points3D[int(point)].xyz for point in found.rows.ids]).reshape(-1, 3)
    pose = find_pose(found.rows, points, query_camera(info, known), found.pixel, options.seed)
    inliers = 0 if pose is None else int(pose.inliers.sum())
    reason = None
    if pose is None or inliers < options.min_inliers:
        reason = f"{inliers} of {len(found.rows)} matches with the model agree, fewer than {options.min_inliers}"
    kept = pose if reason is None else None
    error, focal = (0.0, None) if kept is None else (kept.error, kept.camera.mean_focal_length())
    return kept, Localized(info.name, found.rows.photos, len(found.rows), inliers, error, focal, reason)


def _correspondences(
    matches: Path, place: Place, pairs: Sequence[tuple[str, str]], photos: Mapping[str, Any]
) -> dict[str, _Found]:
    """By query; pairs that could not be matched are left out."""
    seen = {photo: seen_points(photos[photo]) for photo in {photo for _, photo in pairs}}
    with closing(MatchesFile(matches)) as file:
        stored = {pair[:2]: pair for pair in file.pairs()}
        rows: dict[str, list[Any]] = {}
        pixels: dict[str, float] = {}
        for query, photo in pairs:
            pair = stored.get((place.query(query), place.photo(photo)))
            if pair is None:
                continue
            pixel = max(np.divide(pair.size1, pair.matched1 or pair.size1))
            rows.setdefault(query, []).append((file.read(*pair[:2]), seen[photo], pixel))
            pixels[query] = float(max(np.divide(pair.size0, pair.matched0 or pair.size0)))
    return {query: _Found(correspondences(each), pixels[query]) for query, each in rows.items()}


def _write(options: LocalizeOptions, model: Any, poses: Mapping[str, Pose], found: Mapping[str, _Found]) -> None:
    names = {image.name for image in model.images.values()}
    named = {name: f"{options.queries.name}/{name}" if name in names else name for name in poses}
    folder = options.out / "sparse" / "0"
    require_own_files({folder / PLY: "ply"})
    add_queries(model, [(named[name], pose, found[name].rows) for name, pose in poses.items()])
    folder.mkdir(parents=True, exist_ok=True)
    model.write(str(folder))
    write_ply(model, folder / PLY)
    write_poses(options.out / "poses.txt", poses)


def _model(folder: Path) -> Any:
    read_cameras(folder)  # refuses other folders with astr's own message
    try:
        model = read_model(folder)
    except (RuntimeError, ValueError, IndexError) as error:
        raise AstrError(f"{folder}: unreadable COLMAP model ({first_line(error)}); save it again") from None
    if not model.points3D:
        raise AstrError(f"{folder}: has no points, so no photo can be localized in it; triangulate it first")
    return model


def _infos(folder: Path, names: Sequence[str]) -> dict[str, ImageInfo]:
    found = catalogue(folder, names)
    if found.errors:
        raise AstrError(f"{found.complaint()}; repair or remove the bad photos in {folder}")
    return dict(found.infos)
