"""What COLMAP makes of a database: models that are not finished yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.colmap import open_database
from astr_cli.sfm.database.contents import largest_error
from astr_cli.sfm.database.locked import copy_database
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings, incremental_mapping
from astr_cli.sfm.mapping.global_mapper import map_globally, map_in_groups
from astr_cli.sfm.mapping.intrinsics import Calibration, calibration
from astr_cli.sfm.mapping.priors import write_priors
from astr_cli.sfm.repeats.finding import Repeat, check_repeats
from astr_cli.wording import counted

TWO = 2  # images of a database that make a two-view model
MOST_PHOTOS = 0.9  # a model without the pairs that repeats misled has so many of the photos, or it is not used


class Start(NamedTuple):
    """What a mapping begins with."""

    copy: Path
    """Of the database."""
    source: Path
    """What is mapped: the copy, or one with metric positions."""
    names: list[str]
    """Of all images."""
    cameras: Calibration
    settings: MapperSettings
    repeats: tuple[Repeat, ...] | None


def map_models(
    database: Path, images: Path, scratch: Path, options: MapOptions, given: frozenset[str], settings: MapperSettings
) -> tuple[Start, list[Any]]:
    """The models with points, largest first. settings: with flag and progress only.

    Pairs that repeated structure misled come back if too few photos are registered without them. Raises GpsError: too
    few positions for --gps prior.
    """
    start = _prepare(database, images, scratch, options, given, settings)
    models = _models(start, images, scratch, options)
    photos = _photos(models)
    if not any(pair.left_out for pair in start.repeats or ()) or photos >= MOST_PHOTOS * len(start.names):
        return start, models
    settings.flag.check()
    settings.tell(f"{photos} of {len(start.names)} photos registered; mapping with the left-out pairs, to compare")
    again = scratch / "all-pairs"
    again.mkdir()
    whole = _prepare(database, images, again, replace(options, repeats="off"), given, settings)
    more = _models(whole, images, again, options)
    if photos >= MOST_PHOTOS * _photos(more):
        return start, models
    settings.tell(f"with the left-out pairs {_photos(more)} photos are registered: they are kept")
    kept = tuple(pair._replace(left_out=False) for pair in start.repeats or ())
    return whole._replace(repeats=kept), more


def _photos(models: list[Any]) -> int:
    return models[0].num_reg_images() if models else 0


def _models(start: Start, images: Path, scratch: Path, options: MapOptions) -> list[Any]:
    """Those with points, largest first: COLMAP also counts poses alone as a model, of photos taken from one place."""
    settings = start.cameras.for_mapping(start.settings)
    found = _all_models(start.source, images, start.names, scratch, options, settings)
    return sorted((model for model in found if model.num_points3D()), key=size, reverse=True)


def _all_models(
    database: Path, images: Path, names: list[str], scratch: Path, options: MapOptions, settings: MapperSettings
) -> list[Any]:
    if options.mapper == "incremental" or len(names) == TWO:  # the others take three
        return incremental_mapping(database, images, scratch, settings, len(names))
    if options.mapper == "hierarchical":
        return map_in_groups(database, images, scratch, settings)
    return map_globally(database, images, scratch, settings)


def _prepare(
    database: Path, images: Path, scratch: Path, options: MapOptions, given: frozenset[str], settings: MapperSettings
) -> Start:
    copy = source = scratch / "database.db"
    copy_database(database, copy)
    repeats = None
    if options.repeats != "off":
        repeats = check_repeats(copy, images, options.repeats == "drop", settings.tell, settings.flag.check)
    names = _all_names(copy)
    settings = settings._replace(
        seed=options.seed,
        options=options.mapper_option,
        limit=largest_error(copy),
        two_views=len(names) == TWO,
        priors=options.gps == "prior",
    )
    if settings.priors:
        source = scratch / "priors.db"
        priors = write_priors(copy, source, images, options.gps_accuracy)
        settings.tell(
            f"GPS of {counted(priors.photos, 'photo')} in the adjustment, {priors.precise} with a known precision"
        )
    return Start(copy, source, names, calibration(copy, options.intrinsics, given), settings, repeats)


def size(model: Any) -> tuple[int, int]:
    """What a model is ordered by: its photos, then its points."""
    return model.num_reg_images(), model.num_points3D()


def _all_names(database: Path) -> list[str]:
    with open_database(database) as opened:
        return sorted(image.name for image in opened.read_all_images())
