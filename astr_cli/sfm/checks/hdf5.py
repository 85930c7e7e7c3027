"""Reads an HDF5 file of any origin without trusting its content. Runs in a process that the file may crash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.checks.report import UnreadableError
from astr_cli.store.matches_file import DAMAGE
from astr_cli.wording import first_line

Kind = Literal["astr matches", "hloc matches", "hloc features", "imc matches", "imc keypoints"]
FEATURES: tuple[Kind, ...] = ("hloc features", "imc keypoints")
DEEPEST = 64  # folders of an image name
DENSEST = 1100  # deflate packs zeros 1030 times; a file that claims more is damaged
MATCH_ARRAYS = {"matches0", "matching_scores0", "keypoints0", "keypoints1"}
OUR_FORMAT = "astr-matches-"


class Leaf(NamedTuple):
    """A dataset, not read yet."""

    path: tuple[str, ...]
    shape: tuple[int, ...]
    type: str  # numpy's kind of its type: f, i, u, ...


class HDF5Leaves:
    """An open HDF5 file and its datasets. `alive` is called regularly during the search."""

    def __init__(self, path: Path, alive: Callable[[], None]) -> None:
        self.path = path
        self.alive = alive
        self.broken: list[str] = []  # paths of what cannot be opened
        try:
            self._file = h5py.File(path, "r", locking="best-effort")
        except DAMAGE as error:
            raise UnreadableError(f"not a complete HDF5 file ({first_line(error)})") from None
        try:
            self.leaves = self._walk()
            self.kind = self._kind()
        except BaseException:
            self._file.close()
            raise

    def groups(self) -> dict[tuple[str, ...], dict[str, Leaf]]:
        """The datasets of each group, by their names."""
        found: dict[tuple[str, ...], dict[str, Leaf]] = defaultdict(dict)
        for leaf in self.leaves:
            found[leaf.path[:-1]][leaf.path[-1]] = leaf
        return dict(found)

    def read(self, leaf: Leaf) -> NDArray[Any]:
        """The array. Raises one of DAMAGE where it cannot be read."""
        self.alive()
        return np.asarray(self._file["/".join(leaf.path)])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _walk(self) -> list[Leaf]:
        """All datasets that hard links lead to, each group once, in the order of their names."""
        leaves: list[Leaf] = []
        seen = set()
        todo: list[tuple[tuple[str, ...], h5py.Group]] = [((), self._file)]
        while todo:
            path, group = todo.pop()
            self.alive()
            with self._noting(path):
                address = h5py.h5o.get_info(group.id).addr
                if address in seen or len(path) > DEEPEST:
                    continue
                seen.add(address)
                inner = []
                for name in group:
                    with self._noting((*path, name)):
                        if group.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD:
                            item = group[name]
                            if isinstance(item, h5py.Group):
                                inner.append(((*path, name), item))
                            elif isinstance(item, h5py.Dataset):
                                leaves.append(self._leaf((*path, name), item))
                todo.extend(reversed(inner))
        return leaves

    def _leaf(self, path: tuple[str, ...], item: h5py.Dataset) -> Leaf:
        shape, kind = tuple(item.shape or ()), item.dtype
        if item.is_virtual or item.external:
            raise ValueError("takes its content from another file, which astr does not follow")
        claimed = int(np.prod([int(side) for side in shape], dtype=object)) * kind.itemsize
        if claimed > DENSEST * self.path.stat().st_size:
            raise ValueError(f"{shape} {kind} is more data than the file can contain")
        return Leaf(path, shape, kind.kind)

    @contextmanager
    def _noting(self, path: tuple[str, ...]) -> Any:
        try:
            yield
        except DAMAGE as error:
            self.broken.append(f"{'/'.join(path) or '/'} ({first_line(error)})")

    def _kind(self) -> Kind:
        try:
            stamp = self._file.attrs.get("format")
        except DAMAGE as error:
            raise UnreadableError(f"damaged ({first_line(error)})") from None
        text = stamp.decode("utf-8", "replace") if isinstance(stamp, bytes) else str(stamp)
        if text.startswith(OUR_FORMAT):
            return "astr matches"
        names = {leaf.path[-1] for leaf in self.leaves if len(leaf.path) > 1}
        flat = [leaf for leaf in self.leaves if len(leaf.shape) == 2 and leaf.shape[1] >= 2]
        if names & MATCH_ARRAYS:
            return "hloc matches"
        if "keypoints" in names:
            return "hloc features"
        if flat and all(leaf.type in "iu" and leaf.shape[1] == 2 and len(leaf.path) > 1 for leaf in flat):
            return "imc matches"
        if flat and all(leaf.type == "f" for leaf in flat):
            return "imc keypoints"
        if self.broken:
            raise UnreadableError(f"damaged: {self.broken[0]}")
        raise UnreadableError("contains neither matches nor keypoints in a format that astr, hloc or kornia writes")
