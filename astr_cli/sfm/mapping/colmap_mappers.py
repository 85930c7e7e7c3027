"""COLMAP's mappers, triangulation and bundle adjustment, as pycolmap offers them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.errors import AstrError
from astr_cli.matching.resources.progress import Progress
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.sfm.colmap import cancellable, open_database, pycolmap, quiet

MIN_MODEL_IMAGES = 3
CLUSTERING = "clustering_options."  # options of groups of photos


class MapperSettings(NamedTuple):
    """The settings of a mapper."""

    seed: int = 0
    options: tuple[str, ...] = ()
    """pycolmap's options as NAME=VALUE."""
    held: frozenset[int] = frozenset()
    """Cameras, by COLMAP's number, that keep all of their intrinsics."""
    hold_focals: bool = False
    """Whether all cameras keep their focal lengths."""
    priors: bool = False
    """Whether the positions of the database, with their covariances, take part in the adjustment."""
    limit: float | None = None
    """The largest distance of a keypoint from its point's reprojection, in pixels of the photos; None: COLMAP's 4."""
    two_views: bool = False
    """Whether there are two images only: then a model of two counts, and a point that two images see."""
    stop: StopFlag | None = None
    """Ends the long calls."""
    tell: Callable[[str], None] = lambda line: None
    """Gets lines of progress."""

    @property
    def flag(self) -> StopFlag:
        """`stop`, or one that is never set."""
        return self.stop or StopFlag()


def incremental_mapping(database: Path, images: Path, out: Path, settings: MapperSettings, total: int = 0) -> list[Any]:
    """The models (pycolmap.Reconstruction) of a database with `total` images by the incremental mapper."""
    return _incrementally((database, images, out), _pipeline(settings), settings, total)


def continue_mapping(
    database: Path, images: Path, out: Path, start: Path, settings: MapperSettings, registered: int, total: int
) -> Any | None:
    """The model of the folder `start`, which has `registered` photos, with further ones of the `total` of its database;
    None: COLMAP returns no model. Frames with a pose keep it.
    """
    options = _pipeline(settings)
    options.fix_existing_frames, options.multiple_models = True, False
    found = _incrementally((database, images, out), options, settings, total, str(start), registered)
    return max(found, key=lambda model: model.num_reg_images(), default=None)


def _incrementally(
    paths: tuple[Path, Path, Path],
    options: pycolmap.IncrementalPipelineOptions,
    settings: MapperSettings,
    total: int,
    start: str = "",
    known: int = 0,
) -> list[Any]:
    """paths: database, photos, folder for models. start: the model to continue, with `known` photos; empty: none.

    COLMAP's callbacks tell only that two images, or another one, got a pose; for a further model the count begins
    again.
    """
    progress, registered = Progress(settings.tell, "mapping", total, "photo", known, even=False), known

    def begun() -> None:
        nonlocal registered
        registered = known or 2

    def added() -> None:
        nonlocal registered
        registered += 1

    with quiet(errors=False):
        found = cancellable(
            settings.flag,
            pycolmap.incremental_mapping,
            *(*paths, options, start, begun, added),
            waiting=lambda: progress.at(registered),
        )
    return list(found.values())


def global_options(settings: MapperSettings) -> pycolmap.GlobalPipelineOptions:
    """The options of the global mapper. Raises AstrError: it has no such option, or a wrong value."""
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed = settings.seed
    _apply(settings.options, options)
    return options


def global_mapping(database: Path, images: Path, out: Path, settings: MapperSettings) -> list[Any]:
    """The models of a database by the global mapper, which solves for all cameras together and cannot be cancelled."""
    with quiet(errors=False):
        found = pycolmap.global_mapping(database, images, out, global_options(settings))
    return list(found.values())


def hierarchical_options(settings: MapperSettings) -> pycolmap.HierarchicalPipelineOptions:
    """The options of the hierarchical mapper: its own by `clustering_options.`, else those of the incremental mapper,
    which maps each group. Raises AstrError: it has no such option, or a wrong value.
    """
    options = pycolmap.HierarchicalPipelineOptions()
    own = [text for text in settings.options if text.startswith(CLUSTERING)]
    _apply(own, options)
    options.incremental_options = _pipeline(incremental_settings(settings))
    return options


def incremental_settings(settings: MapperSettings) -> MapperSettings:
    """Without the options that only the hierarchical mapper has."""
    return settings._replace(options=tuple(text for text in settings.options if not text.startswith(CLUSTERING)))


def hierarchical_mapping(database: Path, images: Path, out: Path, settings: MapperSettings) -> list[Any]:
    """The models of a database by the hierarchical mapper: groups of photos that share some, each mapped by the
    incremental mapper, and merged. It cannot be cancelled.
    """
    with quiet(errors=False):
        found = pycolmap.hierarchical_mapping(database, images, out, hierarchical_options(settings))
    return list(found.values())


def calibrate(database: Path, seed: int) -> None:
    """Focal lengths from fundamental matrices, into the database: the global mapper adjusts, but never finds them."""
    options = pycolmap.ViewGraphCalibrationOptions()
    options.random_seed = seed
    with quiet(errors=False):
        pycolmap.calibrate_view_graph(database, options)


def triangulate(model: Any, database: Path, images: Path, out: Path, settings: MapperSettings) -> Any:
    """The model with points triangulated again from the database's geometries; poses stay as they are."""
    with quiet(errors=False):
        arguments = (model, database, images, out, True, _pipeline(settings))
        return cancellable(settings.flag, pycolmap.triangulate_points, *arguments)


def adjust(model: Any, database: Path, settings: MapperSettings) -> None:
    """Adjusts all of a model in place as the incremental mapper does at its end: bundle adjustment, merging and
    completing of tracks and filtering, in turn. The model's keypoints must be those of the database.
    """
    options = _pipeline(settings)
    with quiet(errors=False):
        mapper = pycolmap.IncrementalMapper(_cache(database, options))
        mapper.begin_reconstruction(model)
        mapper.iterative_global_refinement(
            options.ba_global_max_refinements,
            options.ba_global_max_refinement_change,
            options.get_mapper(),
            options.get_global_bundle_adjustment(),
            options.get_triangulation(),
        )
        mapper.end_reconstruction(False)


def adjust_alone(model: Any, held: Iterable[int], hold_focals: bool, constant: Sequence[int] = ()) -> None:
    """One bundle adjustment of a model in place, with its points and observations as they are.

    held: cameras that keep all of their intrinsics. hold_focals: whether all cameras keep their focal lengths.
    constant: points that stay where they are; three or more place the model, else two of its cameras do.
    """
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.refine_focal_length = not hold_focals
    config = pycolmap.BundleAdjustmentConfig()
    for image in model.reg_image_ids():
        config.add_image(image)
    for camera in held:
        config.set_constant_cam_intrinsics(camera)
    for point in constant:
        config.add_constant_point(point)
    if not constant:
        config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    with quiet(errors=False):
        pycolmap.create_default_bundle_adjuster(options, config, model).solve()
    model.update_point_3d_errors()


def copied(model: Any) -> Any:
    """A model of its own with the same content."""
    return pycolmap.Reconstruction(model)


def _cache(database: Path, options: pycolmap.IncrementalPipelineOptions) -> pycolmap.DatabaseCache:
    """What a mapper reads of a database."""
    wanted = pycolmap.DatabaseCacheOptions()
    wanted.min_num_matches = options.min_num_matches
    with open_database(database) as opened:
        return pycolmap.DatabaseCache.create(opened, wanted)


def _pipeline(settings: MapperSettings) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = settings.seed
    options.extract_colors = False  # COLMAP cannot read all photos
    options.min_model_size = 2 if settings.two_views else MIN_MODEL_IMAGES
    options.triangulation.ignore_two_view_tracks = not settings.two_views
    options.constant_cameras = set(settings.held)
    if settings.limit is not None:
        options.mapper.filter_max_reproj_error = settings.limit
    if settings.hold_focals:
        options.ba_refine_focal_length = options.mapper.abs_pose_refine_focal_length = False
    options.use_prior_position = options.use_robust_loss_on_prior_position = settings.priors
    _apply(settings.options, options)
    return options


def _apply(texts: Sequence[str], options: Any) -> None:
    """Sets options given as NAME=VALUE or GROUP.NAME=VALUE. Raises AstrError: no such option, or a wrong value."""
    for text in texts:
        path, _, value = text.partition("=")
        *groups, name = path.split(".")
        place = options
        for group in groups:
            place = getattr(place, _known(text, place, group))
        before = getattr(place, _known(text, place, name))
        try:
            setattr(place, name, _converted(value, before))
        except (TypeError, ValueError):
            kind = type(before).__name__
            raise AstrError(f"--mapper-option {text}: '{path}' takes a value such as {before!r} ({kind})") from None


def _known(text: str, place: Any, name: str) -> str:
    names = [each for each in place.todict() if not each.startswith("_")]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
        raise AstrError(f"--mapper-option {text}: this mapper has no option '{name}'; did you mean '{near}'?")
    return name


def _converted(value: str, before: Any) -> Any:
    if isinstance(before, bool):
        return {"true": True, "false": False, "1": True, "0": False}.get(value.lower(), value)
    return type(before)(value)
