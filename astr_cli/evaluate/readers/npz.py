"""Reads numpy's archives, including object arrays, without running any code from the file.

LoFTR's MegaDepth index files are pickles: a pickled dict under the name .npz, or an archive of arrays of objects. A
pickle is a program, and numpy's `allow_pickle` runs it. Here the few names that such a file needs (arrays, their
types, scalars) are replaced by stand-ins of this module, which check every field and build plain arrays from bytes.
Any other name is refused. No function that a file names is ever called, not even numpy's own.
"""

import io
import math
import pickle
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from astr_cli.evaluate.benchmark import EvaluateError
from astr_cli.evaluate.readers.pickle_bounds import bound, require_bounded

DAMAGE = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError),
    *(MemoryError, NotImplementedError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)
PICKLE = b"\x80"  # protocol 2 and newer
ZIP = b"PK"
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
ALWAYS, DENSEST = 256 << 20, 100  # bytes unpacked, and per byte of the file
PLAIN = re.compile(r"[biufUSO]\d+")  # bool, integers, floats, text, bytes, objects


def read_npz(path: Path) -> dict[str, Any]:
    """The content by name: arrays; a pickled dict may also contain lists, numbers and text.

    Empty for an archive without arrays and for a pickle that is not a dict. Raises EvaluateError: the file is missing
    or damaged, or a pickle names anything but numpy's arrays.
    """
    try:
        with path.open("rb") as file:
            if file.read(1) == PICKLE:
                content = _unpickle(PICKLE + file.read(), path)
                return content if isinstance(content, dict) else {}
        with zipfile.ZipFile(path) as archive:
            _require_size(archive, path)
            members = [member for member in archive.namelist() if member.endswith(".npy")]
            return {member.removesuffix(".npy"): _member(archive, member, path) for member in members}
    except FileNotFoundError:
        raise EvaluateError(f"{path}: no such file") from None
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EvaluateError(f"{path}: cannot be read ({reason}); copy it again") from None


def has_arrays(path: Path, *names: str) -> bool:
    """Whether an .npz may contain arrays of these names: known for an archive; assumed for a pickle."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
        if head != ZIP:
            return head[:1] == PICKLE
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name in names} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _member(archive: zipfile.ZipFile, member: str, path: Path) -> npt.NDArray[Any]:
    with archive.open(member) as file:
        reader = HEADERS.get(np.lib.format.read_magic(file))
        if reader is None:
            raise ValueError(f"{member} is of a format that numpy writes for arrays with fields")
        shape, _, dtype = reader(file)
        if dtype == np.dtype(object):
            value = _unpickle(file.read(), path)
            if not isinstance(value, np.ndarray):
                raise ValueError(f"{member} contains no array")
            return value
        if math.prod(shape) * dtype.itemsize > archive.getinfo(member).file_size:
            raise ValueError(f"{member} claims more than it holds")
    with archive.open(member) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _require_size(archive: zipfile.ZipFile, path: Path) -> None:
    """Raises ValueError for an archive whose few bytes unpack to gigabytes."""
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(ALWAYS, DENSEST * path.stat().st_size):
        raise ValueError(f"its {unpacked} bytes are packed too densely for photos' data")


def _unpickle(data: bytes, path: Path) -> Any:
    require_bounded(data)
    return _Plain(bound(len(data))).of(_Unpickler(io.BytesIO(data), path).load())


class _Unpickler(pickle.Unpickler):
    """Knows arrays, their types and scalars; refuses every other name."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name in a pickle. Raises EvaluateError for a name that an index file does not need."""
        known: dict[str, Any] = {
            "numpy.ndarray": None,
            "numpy.dtype": self._dtype,
            "multiarray._reconstruct": self._array,
            "multiarray.scalar": self._scalar,
            "numeric._frombuffer": self._from_buffer,
            "_codecs.encode": self._encode,
            "__builtin__.bytes": self._no_bytes,
        }
        # numpy 2 moved numpy.core to numpy._core.
        key = f"{re.sub(r'^numpy[.]_?core[.]', '', module)}.{name}"
        if key not in known:
            raise EvaluateError(
                f"{self._path}: wants to run {module}.{name}, which no list of photos needs; astr did not run it; get "
                "the file from its authors again"
            )
        return known[key]

    @staticmethod
    def _dtype(code: str, *_: object) -> "_Dtype":
        return _Dtype(code)

    @staticmethod
    def _array(*_: object) -> "_Array":
        return _Array()

    @staticmethod
    def _scalar(dtype: "_Dtype", data: bytes) -> Any:
        return _build((), dtype, False, data)[()]

    @staticmethod
    def _from_buffer(data: bytes, dtype: "_Dtype", shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
        return _build(shape, dtype, order == "F", data)

    @staticmethod
    def _encode(text: str, encoding: str) -> bytes:
        """Bytes as protocol 2 writes them."""
        if encoding != "latin1":
            raise ValueError(f"bytes in {encoding}")
        return text.encode("latin1")

    @staticmethod
    def _no_bytes() -> bytes:
        """b"" as protocol 2 writes it."""
        return b""


class _Dtype:
    """The type of a plain array."""

    def __init__(self, code: str) -> None:
        if not isinstance(code, str) or PLAIN.fullmatch(code) is None:
            raise ValueError(f"an array of type {str(code)[:20]!r}")
        self.value = np.dtype(object) if code[0] == "O" else np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, parts = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise ValueError("an array with fields")
        self.value = self.value.newbyteorder(order)


class _Array:
    """An array before its content is read."""

    value: npt.NDArray[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _build(shape, dtype, bool(fortran), data)


def _build(shape: Any, dtype: Any, fortran: bool, data: Any) -> npt.NDArray[Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
        raise ValueError("an array without type or shape")
    if dtype.value != np.dtype(object):
        flat = np.frombuffer(data, dtype.value)
    elif isinstance(data, list):
        flat = np.empty(len(data), object)
        for place, item in enumerate(data):
            flat[place] = item
    else:
        raise ValueError("an array of objects without a list")
    return flat.reshape(shape, order="F" if fortran else "C")


class _Plain:
    """Values with every stand-in replaced by its array, up to a number of parts: one part may be in many places."""

    def __init__(self, most: int) -> None:
        self._left = most

    def of(self, value: Any) -> Any:
        """The plain value. Raises ValueError when it has too many parts."""
        self._left -= 1
        if self._left < 0:
            raise ValueError("it repeats its parts too often")
        if isinstance(value, _Array):
            value = value.value
        if isinstance(value, np.ndarray) and value.dtype == np.dtype(object):
            plain = np.empty(value.shape, object)
            for place in np.ndindex(value.shape):
                plain[place] = self.of(value[place])
            return plain
        if isinstance(value, list):
            return [self.of(item) for item in value]
        if isinstance(value, tuple):
            return tuple(self.of(item) for item in value)
        if isinstance(value, dict):
            return {key: self.of(item) for key, item in value.items()}
        return value
