"""Reading matches.h5, with a check of everything in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from astr_cli.names import NameProblem, require_name
from astr_cli.store.errors import StoreError
from astr_cli.store.groups import pair_group
from astr_cli.store.index import GROUP, PairIndex, has_index, read_index
from astr_cli.store.plain_hdf5 import NotPlainError, is_there, plain_dataset, plain_group
from astr_cli.store.raw_arrays import RawArrays
from astr_cli.store.types import ARRAYS, SIGMA, PairMatches, Side, StoredPair, problem_of, problem_of_values
from astr_cli.store.writer import FORMAT
from astr_cli.wording import first_line

DIGITS = 7  # of a long side
OURS = "astr-matches-"
READ = ("astr-matches-1", "astr-matches-2", FORMAT)

# What h5py raises for damaged content, measured by flipping bytes.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError, OverflowError)


def stored_long_side(attributes: Mapping[str, str]) -> int | None:
    """The long side that a file was matched at; None: it does not say, or a size that no photo has."""
    text = attributes.get("long_side", "")
    return int(text) if text.isdecimal() and len(text) <= DIGITS and int(text) >= 1 else None


def is_foreign(path: Path) -> bool:
    """Whether this is a whole HDF5 file of another program. A damaged one may have been astr's."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            return not _text(file.attrs.get("format", "")).startswith(OURS)
    except DAMAGE:
        return False


class MatchesFile:
    """A matches.h5 open for reading, as `write_matches` makes them. Raises StoreError when it is anything else."""

    def __init__(self, path: Path, indexed: bool = True) -> None:
        """indexed: whether to use the file's index, if it has one; all results are the same without."""
        self.path = path
        self._pairs: tuple[StoredPair, ...] | None = None
        self._places: dict[tuple[str, str], int] | None = None
        try:
            self._file = h5py.File(path, "r", locking=False)  # drives without locks; it is only read
        except FileNotFoundError:
            raise StoreError(f"{path}: no such file; make it with astr match") from None
        except IsADirectoryError:
            raise StoreError(f"{path}: is a folder, not a matches file") from None
        except OSError as error:
            raise StoreError(f"{path}: not a complete HDF5 file ({first_line(error)}); run astr match again") from None
        self._raw: RawArrays | None = None
        self.index: PairIndex | None = None
        try:
            self.attributes = self._attributes()
            if indexed:
                self._read_index()
        except BaseException:
            self.close()
            raise

    def pairs(self) -> tuple[StoredPair, ...]:
        """All pairs, sorted by their key; read once. Raises StoreError for a file without astr's attributes."""
        if self.index is not None:
            return self.index.pairs
        if self._pairs is None:
            try:
                outer = [name for name in self._file if name != GROUP or not has_index(self._file)]
                self._pairs = tuple(self._pair(name, inner) for name in outer for inner in self._group(name))
            except DAMAGE as error:
                raise self._damaged(error) from None
        return self._pairs

    def read(self, name0: str, name1: str) -> PairMatches:
        """The matches of a pair, the names in the order stored. Raises StoreError: no such pair, or damaged arrays."""
        key = pair_group(name0, name1)
        if self.index is not None and self._raw is not None:
            number = self._number(name0, name1)
            pair = self.index.pairs[number]
            arrays = self._raw.read(self.index.place(number))
            sides = Side(pair.size0, pair.matched0), Side(pair.size1, pair.matched1)
            return self._checked(key, arrays, sides)
        try:
            group = self._group_of(name0, name1)
            missing = [spec.name for spec in ARRAYS if not is_there(group, spec.name)]
            if missing:
                raise StoreError(f"{self.path}: pair {key} lacks {missing[0]}; make it again with astr match")
            specs = (*ARRAYS, SIGMA) if is_there(group, SIGMA.name) else ARRAYS
            arrays = [np.asarray(plain_dataset(group, spec.name)) for spec in specs]
            sides = self._sides(key, group)
        except DAMAGE as error:
            raise self._damaged(error) from None
        return self._checked(key, arrays, sides)

    def _checked(self, key: str, arrays: list[NDArray[Any]], sides: tuple[Side, Side]) -> PairMatches:
        problem = problem_of(arrays) or problem_of_values(PairMatches(*arrays), *sides)
        if problem is not None:
            raise StoreError(f"{self.path}: pair {key}: {problem}; make the file again with astr match")
        return PairMatches(*arrays)

    def count(self, name0: str, name1: str) -> int:
        """The number of matches of one pair, the names in the order stored; cheaper than `read`."""
        if self.index is not None:
            return int(self.index.rows[self._number(name0, name1)])
        try:
            return int(plain_dataset(self._group_of(name0, name1), "scores").shape[0])
        except (*DAMAGE, IndexError) as error:
            raise self._damaged(error) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._raw is not None:
            self._raw.close()

    def __enter__(self) -> "MatchesFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _attributes(self) -> dict[str, str]:
        try:
            attributes = {name: _text(value) for name, value in self._file.attrs.items()}
        except DAMAGE as error:
            raise self._damaged(error) from None
        if attributes.get("format") not in READ:
            found = attributes.get("format")
            kind = (
                f"has format {found!r}" if found else "was not written by astr match (hloc's own files lack the names)"
            )
            raise StoreError(f"{self.path}: {kind}; this astr reads {READ[0]} to {READ[-1]}; make it with astr match")
        return attributes

    def _read_index(self) -> None:
        try:
            raw = RawArrays(self.path)
            self._raw = raw
            self.index = read_index(self._file, raw.bytes)
        except NameProblem as problem:
            raise StoreError(f"{self.path}: {problem}") from None
        except DAMAGE as error:
            raise self._damaged(error) from None
        if not raw.is_file(self.path):
            raise StoreError(f"{self.path}: another program changed it meanwhile; run the same command again")

    def _number(self, name0: str, name1: str) -> int:
        if self._places is None:
            self._places = {pair[:2]: number for number, pair in enumerate(self.pairs())}
        number = self._places.get((name0, name1))
        if number is None:
            raise StoreError(f"{self.path}: has no pair {name0} {name1}; match it with astr match")
        return number

    def _group(self, name: str) -> h5py.Group:
        try:
            return plain_group(self._file, name)
        except NotPlainError:
            raise StoreError(f"{self.path}: {name} is not a pair; make the file again with astr match") from None

    def _group_of(self, name0: str, name1: str) -> h5py.Group:
        outer, inner = pair_group(name0, name1).split("/")
        if not (is_there(self._file, outer) and is_there(group := plain_group(self._file, outer), inner)):
            raise StoreError(f"{self.path}: has no pair {name0} {name1}; match it with astr match")
        return plain_group(group, inner)

    def _sides(self, key: str, group: h5py.Group) -> tuple[Side, Side]:
        """Raw and matched size of both images."""
        sizes = [self._size(key, group.attrs[f"size{side}"]) for side in (0, 1)]
        names = [f"matched{side}" for side in (0, 1)]
        matched = [self._size(key, group.attrs[name]) if name in group.attrs else None for name in names]
        return Side(sizes[0], matched[0]), Side(sizes[1], matched[1])

    def _pair(self, outer: str, inner: str) -> StoredPair:
        key = f"{outer}/{inner}"
        group = plain_group(self._group(outer), inner)
        attributes = group.attrs
        missing = [name for name in ("name0", "name1", "size0", "size1") if name not in attributes]
        if missing:
            raise StoreError(f"{self.path}: pair {key} lacks the attribute {missing[0]}; make it again with astr match")
        side0, side1 = self._sides(key, group)
        pair = StoredPair(
            self._name(key, attributes["name0"]),
            self._name(key, attributes["name1"]),
            side0.size,
            side1.size,
            side0.matched,
            side1.matched,
            _text(attributes.get("content0", "")),
            _text(attributes.get("content1", "")),
        )
        if pair_group(pair.name0, pair.name1) != key:
            raise StoreError(
                f"{self.path}: pair {key} is named {pair.name0} {pair.name1}; make it again with astr match"
            )
        return pair

    def _name(self, key: str, value: Any) -> str:
        try:
            return require_name(value)
        except NameProblem as problem:
            raise StoreError(f"{self.path}: pair {key}: {problem}") from None

    def _size(self, key: str, value: Any) -> tuple[int, int]:
        size = np.asarray(value)
        if size.shape != (2,) or size.dtype.kind not in "iu" or int(size.min()) < 1:
            raise StoreError(f"{self.path}: pair {key}: size {value} is not (width, height); run astr match again")
        return int(size[0]), int(size[1])

    def _damaged(self, error: BaseException) -> StoreError:
        return StoreError(f"{self.path}: damaged ({first_line(error)}); make it again with astr match")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
