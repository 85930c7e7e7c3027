"""The photos of a reconstruction: those of its folder that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.images.catalogue import catalogue, find_images
from astr_cli.images.info import ImageInfo
from astr_cli.options.pairs import METHODS
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.pairs.reading import read_pairs
from astr_cli.sfm.database.cameras import given_photos
from astr_cli.sfm.database.sharing import share_cameras
from astr_cli.wording import counted

FEWEST_PHOTOS = 2


class Photos(NamedTuple):
    """The photos of a folder."""

    names: list[str]
    """Usable, without images of an earlier run."""
    skipped: tuple[str, ...]
    """The problems of the others."""
    given: frozenset[str]
    """Those whose cameras the user gave."""


def usable_photos(options: ReconstructOptions) -> Photos:
    """Raises AstrError: unreadable photos without `options.skip_bad`, too few photos, cameras that they cannot have."""
    photos = options.photos
    made = made_folders(options)
    names = [name for name in find_images(photos) if not made & set((photos / name).resolve().parents)]
    found = catalogue(photos, names)
    if found.errors and not options.skip_bad:
        raise AstrError(f"{photos}: {found.complaint()}; use --skip-bad to continue without bad photos")
    good = list(found.infos)
    given = _check_cameras(options, found.infos)
    if len(good) < FEWEST_PHOTOS:
        raise AstrError(
            f"{photos}: {counted(len(good), 'photo')} {'is' if len(good) == 1 else 'are'} too few for a model; "
            f"use at least {FEWEST_PHOTOS}"
        )
    return Photos(good, tuple(found.errors.values()), given)


def _check_cameras(options: ReconstructOptions, infos: Mapping[str, ImageInfo]) -> frozenset[str]:
    """The photos whose cameras the user gave.

    Raises AstrError for cameras that the photos cannot have, hours before the database is written.
    """
    listed, used = Path(options.choice.pairs), set(infos)
    if options.choice.pairs not in METHODS and listed.is_file():
        used &= {name for pair in read_pairs(listed).pairs for name in (pair.name0, pair.name1)}
    sharing = share_cameras({name: info for name, info in infos.items() if name in used}, options.cameras)
    return given_photos(sharing, options.cameras)


def made_folders(options: ReconstructOptions) -> set[Path]:
    """Folders whose images are no photos: OUT; for photos in OUT, the folders that astr and COLMAP make in it; plots,
    and masks in a folder of their own.
    """
    out, photos = options.out.resolve(), options.photos.resolve()
    plots = {options.plots.resolve()} if options.plots is not None else set()
    masks = {options.matching.masks.resolve()} if options.matching.masks is not None else set()
    apart = plots | (masks - {photos, *photos.parents})
    return apart | ({out / "sparse", out / "dense"} if out in (photos, *photos.parents) else {out})
