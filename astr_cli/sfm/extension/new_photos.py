"""Which photos are new, and the pairs that they bring."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.images.catalogue import catalogue, find_images
from astr_cli.images.info import ImageInfo
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.pairs.reading import read_pairs
from astr_cli.sfm.database.cameras import given_photos
from astr_cli.sfm.database.sharing import share_cameras
from astr_cli.sfm.extension.folder import Reconstruction
from astr_cli.sfm.pairs.automatic import Source, choose_pairs
from astr_cli.sfm.reconstruction.photos import made_folders
from astr_cli.store.matches_file import MatchesFile


class Photos(NamedTuple):
    """Photos that a database holds, and new ones, by name; names start at the folder of the photos."""

    held: dict[str, ImageInfo]
    new: dict[str, ImageInfo]
    given: frozenset[str]
    """Those whose cameras the user gave."""


class NewPairs(NamedTuple):
    """Pairs with new photos, and the method that found them."""

    method: str
    pairs: list[tuple[str, str]]


def find_photos(options: ReconstructOptions, folder: Path, held: Collection[str]) -> Photos:
    """The photos in `folder` that are not `held`.

    Raises AstrError: the folder is not that of the other photos nor inside it; a photo is missing or bad, or cannot
    have a camera by the options.
    """
    root = options.photos
    if not folder.is_dir():
        raise AstrError(f"{folder}: there is no such folder; name that of the new photos")
    if not folder.resolve().is_relative_to(root.resolve()):
        raise AstrError(
            f"{folder}: is outside of {root}, the folder of the photos, which COLMAP needs together; copy the new "
            "photos into it"
        )
    made, inside = made_folders(options), folder.resolve()
    names = [
        name
        for name in find_images(root)
        if name not in held and inside in (place := set((root / name).resolve().parents)) and not made & place
    ]
    old, new = held_photos(options, held), catalogue(root, names)
    if new.errors and not options.skip_bad:
        raise AstrError(f"{new.complaint()}; repair or remove the bad photos in {folder}")
    sharing = share_cameras({**old.held, **new.infos}, options.cameras)
    return Photos(old.held, dict(new.infos), given_photos(sharing, options.cameras))


def held_photos(options: ReconstructOptions, held: Collection[str]) -> Photos:
    """The photos of a database alone. Raises AstrError: one is missing or bad."""
    found = catalogue(options.photos, sorted(held))
    if found.errors:
        raise AstrError(f"{found.complaint()}; put back the photos of the model, or take them out of it with --remove")
    return Photos(dict(found.infos), {}, given_photos(share_cameras(found.infos, options.cameras), options.cameras))


def failed_pairs(done: Reconstruction, held: Mapping[str, object]) -> list[tuple[str, str]]:
    """The pairs of photos of a database that pairs.txt lists and matches.h5 lacks: their matching failed."""
    with MatchesFile(done.matches) as file:
        matched = {frozenset(pair[:2]) for pair in file.pairs()}
    listed = [(pair.name0, pair.name1) for pair in read_pairs(done.options.out / "pairs.txt").pairs]
    return [pair for pair in listed if frozenset(pair) not in matched and held.keys() >= set(pair)]


def new_pairs(
    options: ReconstructOptions,
    photos: Photos,
    matched: Collection[frozenset[str]],
    tell: Callable[[str], None],
) -> NewPairs:
    """The pairs of new photos, with old ones and with each other, by the method of the reconstruction, without those
    that are matched already. Raises AstrError: there are none.
    """
    names = [*photos.held, *photos.new]
    source = Source(options.photos, names, options.matching.weights, options.matching.device)
    chosen = choose_pairs(source, options.choice, tell)
    known = set(names)
    pairs = [
        pair
        for pair in chosen.pairs
        if not photos.new.keys().isdisjoint(pair) and known.issuperset(pair) and frozenset(pair) not in matched
    ]
    if not pairs:
        raise AstrError(f"{options.photos}: --pairs {options.choice.pairs} finds no pair with a new photo; add some")
    return NewPairs(chosen.method, pairs)
