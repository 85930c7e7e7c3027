"""Which photos are queries, and which photos of the model each is matched with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.errors import AstrError
from astr_cli.images.catalogue import find_images
from astr_cli.options.localize import LocalizeOptions
from astr_cli.pairs.reading import read_pairs
from astr_cli.sfm.pairs.retrieval import most_similar


class Place(NamedTuple):
    """The folder above queries and photos of the model, and the part of each name that leads to them."""

    root: Path
    queries: str
    photos: str

    def query(self, name: str) -> str:
        """The name of a query, from the common folder."""
        return f"{self.queries}{name}"

    def photo(self, name: str) -> str:
        """The name of a photo of the model, from the common folder."""
        return f"{self.photos}{name}"


def common_place(queries: Path, photos: Path) -> Place:
    """The folder that holds both. Raises AstrError: there is none."""
    inner, outer = queries.resolve(), photos.resolve()
    try:
        root = Path(os.path.commonpath([inner, outer]))
    except ValueError:
        raise AstrError(f"{queries}: is on another drive than {photos}; copy it there") from None
    return Place(root, *(_front(folder.relative_to(root)) for folder in (inner, outer)))


def choose_queries(options: LocalizeOptions, place: Place, model: Any) -> list[str]:
    """The photos of the folder that are not in the model. Raises AstrError: there are none."""
    inside = {place.photo(image.name) for image in model.images.values()}
    names = [name for name in find_images(options.queries) if place.query(name) not in inside]
    if not names:
        raise AstrError(f"{options.queries}: has no photo that the model lacks; name the folder of the new photos")
    return names


def choose_pairs(
    options: LocalizeOptions,
    place: Place,
    queries: Sequence[str],
    photos: Sequence[str],
    tell: Callable[[str], None],
) -> list[tuple[str, str]]:
    """(query, photo of the model). Raises AstrError: a pairs file that names other photos."""
    if options.pairs is not None:
        return list(_listed(options.pairs, set(queries), set(photos)))
    if len(photos) <= options.neighbours:
        return [(query, photo) for query in queries for photo in photos]
    given = [place.query(name) for name in queries], [place.photo(name) for name in photos]
    matching = options.matching
    found = most_similar(place.root, *given, options.neighbours, matching.weights, matching.device, tell)
    return [(queries[query], photos[photo]) for query, photo in found]


def _listed(path: Path, queries: set[str], photos: set[str]) -> Iterable[tuple[str, str]]:
    for pair in read_pairs(path).pairs:
        names = (pair.name0, pair.name1) if pair.name0 in queries else (pair.name1, pair.name0)
        if names[0] not in queries or names[1] not in photos:
            raise AstrError(
                f"{path}:{pair.line}: {pair.name0} {pair.name1} is not a query and a photo of the model; correct it"
            )
        yield names


def _front(folder: Path) -> str:
    return "" if folder == Path() else f"{folder.as_posix()}/"
