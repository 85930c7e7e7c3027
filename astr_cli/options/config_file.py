"""Files of options: `--config` reads them, `astr reconstruct` writes one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

from astr_cli.errors import AstrError
from astr_cli.options.option import Declared, build, declared, is_path, values_of

T = TypeVar("T")


def read_config(path: Path, command: str, known: Sequence[Declared]) -> dict[str, Any]:
    """The values in a file, by `Declared.key`, in the form that the command line has.

    Raises AstrError: no such file, not TOML, or an option that the command does not have (with the nearest name).
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AstrError(f"--config {path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AstrError(f"--config {path}: is not TOML ({error})") from None
    names = {each.name: each for each in known}
    values = {}
    for name, value in content.items():
        each = names.get(name) or names.get(name.replace("_", "-"))
        if each is None:
            import difflib

            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
            raise AstrError(f"--config {path}: astr {command} has no option '{name}'; did you mean '{near}'?")
        values[each.key] = _checked(path, each, value)
    return values


def stored_options(path: Path, command: str, kind: type[T]) -> T:
    """The options of a command from a file that `config_text` made. Raises AstrError as `read_config` does, or for a
    value of a wrong type or an option that is missing.
    """
    known = declared(kind)
    values = read_config(path, command, known)
    missing = [each.name for each in known if each.required and each.key not in values]
    if missing:
        raise AstrError(f"{path}: lacks the option '{missing[0]}'; run astr {command} again")
    return build(kind, {each.key: _typed(path, each, values[each.key]) for each in known if each.key in values})


def config_text(options: Any, folder: Path, head: str) -> str:
    """The text of a file in `folder`: `head` as a comment, then all options but None, paths relative to `folder`."""
    import tomli_w

    values, found = values_of(options), {}
    for each in declared(type(options)):
        value = values[each.key]
        if each.option.hidden or value is None or value == ():
            continue
        found[each.name] = _plain(each, value, folder)
    return f"# {head}\n{tomli_w.dumps(found)}"


def _checked(path: Path, each: Declared, value: Any) -> Any:
    """The value as text, in the form that the command line has; paths are relative to the current folder."""
    if isinstance(value, list) and each.many:
        return [_checked_item(path, each, item) for item in value]
    return _checked_item(path, each, value)


def _checked_item(path: Path, each: Declared, value: Any) -> Any:
    if isinstance(value, bool) and each.option.without_value:
        raise AstrError(f"--config {path}: {each.option.without_value}")
    if not isinstance(value, (str, int, float)) or isinstance(value, bool) != (each.type is bool):
        expected = "true or false" if each.type is bool else "a single value"
        raise AstrError(f"--config {path}: '{each.name}' takes {expected}, not {value!r}")
    if isinstance(value, str) and is_path(each, value) and value != "-":
        # Normalised, so that the path is the same as on the command line.
        return os.path.normpath(path.parent / value)
    return value if isinstance(value, bool) else str(value)


def _typed(path: Path, each: Declared, value: Any) -> Any:
    """The value in the form that a class of options has, from that of the command line."""
    if isinstance(value, list):
        return tuple(_typed(path, each, item) for item in value)
    if each.option.parse is not None:
        return each.option.parse(value)
    kinds = {kind for kind in get_args(each.type) or (each.type,) if kind not in (NoneType, Ellipsis)}
    made = next((kind for kind in (bool, int, float, Path) if kind in kinds), None)
    try:
        return value if made in (None, bool) else made(value)
    except ValueError:
        raise AstrError(f"{path}: '{each.name}' takes a number, not {value!r}") from None


def _plain(each: Declared, value: Any, folder: Path) -> Any:
    if isinstance(value, tuple):
        return [_plain(each, item, folder) for item in value]
    if is_path(each, value):
        relative = os.path.relpath(value, folder)
        return Path(relative).as_posix()
    return value
