"""Files that appear whole or not at all, and are never written through a link that another could have put there.

A name that the user gives may be a link: `real_path` says where it leads. Names that astr makes up itself (temporary
files, locks, journals) may not be links.
"""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from astr_cli.errors import AstrError

_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


# File systems allow 255 bytes; the names that astr makes from an output's (with host and process) are longer than it.
LONGEST_NAME = 170
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def real_path(path: Path) -> Path:
    """The file that a link leads to, so that astr writes beside it; any other path as it is.

    Raises AstrError when links lead in a circle.
    """
    if not path.is_symlink():
        return path
    try:
        return path.resolve(strict=path.exists())
    except (OSError, RuntimeError):  # RuntimeError: a circle, before Python 3.13
        raise AstrError(f"{path}: its links lead in a circle; remove them") from None


def check_output_file(path: Path, option: str = "--out") -> None:
    """Raises AstrError when no file of that name can be written: it is too long, or its links lead in a circle, or a
    pipe or a device has it.
    """
    mode = _mode(path, option)
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise AstrError(f"{path}: is a pipe or a device, and no file; choose another {option}")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise AstrError(f"{path}: its name has more than {LONGEST_NAME} bytes; choose a shorter {option}")


def check_output_folder(path: Path, option: str = "--out") -> None:
    """Raises AstrError when no folder of that name can be made: as for a file, or a file has it."""
    mode = _mode(path, option)
    if mode and not stat.S_ISDIR(mode):
        raise AstrError(f"{path}: is no folder; choose another {option}")


def _mode(path: Path, option: str) -> int:
    """Of what has that name; 0: nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise AstrError(f"{path}: its links lead in a circle; remove them") from None
        raise AstrError(f"{path}: cannot be used ({error.strerror}); choose another {option}") from None


def temporary_path(path: Path) -> Path:
    """The name under which a file is written before it takes its own: beside it, hidden, of no other program."""
    return path.with_name(f".{path.name}.astr-tmp")


def open_new(path: Path) -> int:
    """A descriptor of a new file, to read and write; replaces one that a killed run left. Raises OSError.

    A link, or anything but a plain file, under that name is refused: it is not astr's.
    """
    if _is_there(path):
        _refuse_other(path, os.lstat(path))
        path.unlink()
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, 0o666)


def open_own(path: Path, flags: int) -> int:
    """os.open for a file whose name astr makes up, new or old. Raises OSError for a link and anything but a file.

    A second name (hard link) is refused as well: writing would change that file, too.
    """
    if path.is_symlink():  # Windows lacks O_NOFOLLOW
        _refuse_other(path, os.lstat(path))
    handle = os.open(path, flags | _SAFE, 0o644)
    try:
        status = os.fstat(handle)
        _refuse_other(path, status)
        if status.st_nlink > 1:
            raise FileExistsError(errno.EEXIST, f"{path.name} has a second name: a hard link; remove it")
    except BaseException:
        os.close(handle)
        raise
    return handle


def read_own(path: Path) -> bytes:
    """The content of a file whose name astr makes up. Raises OSError as `open_own` does."""
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        return file.read()


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file (text as UTF-8), complete or not at all; a link of that name is replaced. Raises OSError."""
    temporary = temporary_path(path)
    handle = open_new(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(handle)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also for one nested too deeply for Python."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _refuse_other(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = "a link" if stat.S_ISLNK(status.st_mode) else "no plain file"
        raise FileExistsError(errno.EEXIST, f"{path.name} is {what}; remove it")
