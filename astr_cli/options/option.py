"""What the declaration of an option is made of, and how classes of options are taken apart and put together.

A class of options is a frozen dataclass whose every field is an `option(...)`, or another class of options.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from astr_cli.errors import AstrError
from astr_cli.wording import listed_choices

T = TypeVar("T")


class OptionError(AstrError):
    """An option that makes no sense or that this machine cannot serve."""


@dataclass(frozen=True)
class Option:
    """What is known of an option besides its type and its default."""

    help: str
    """Begins with a verb or a noun; ends with a full stop."""
    stored: bool
    """Whether it changes results. Then it is stored with them, and other results are never reused."""
    name: str | None = None
    """On the command line; None: the field's name with dashes."""
    short: str | None = None
    """One letter for the command line."""
    argument: bool = False
    """Given by its place, not by its name."""
    panel: str | None = None
    """The heading that it stands under in the help."""
    default_text: str | None = None
    """What None stands for."""
    switch: bool = False
    """A flag that has a negative form too: --name/--no-name."""
    least: float | None = None
    """The smallest value."""
    unit: str = ""
    """What is counted, for messages."""
    parse: Callable[[str], Any] | None = None
    """From the text of the command line to the value."""
    is_path: Callable[[str], bool] | None = None
    """For text that may be a path: whether it is one. Relative paths in a --config file start from its folder."""
    files_only: bool = False
    """Only for photos on disk: not a keyword of the Python API."""
    without_value: str = ""
    """The error where it is given without a value, as if it were a flag, which it was once; empty: Typer's."""
    hidden: bool = False
    """For other commands, not for the command line."""


class Declared(NamedTuple):
    """An option with its field."""

    name: str
    """On the command line, without dashes in front; unique within a command."""
    field: str
    type: Any
    default: Any
    """dataclasses.MISSING: required."""
    option: Option

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING

    @property
    def many(self) -> bool:
        """Whether it may be given several times."""
        return get_origin(self.type) is tuple

    @property
    def key(self) -> str:
        """The name as an identifier."""
        return self.name.replace("-", "_")

    def stored_text(self, value: object) -> str:
        """The value as an attribute or in a message: None becomes the text of the default."""
        if value is None:
            return self.option.default_text or "none"
        return str(value).lower() if isinstance(value, bool) else str(value)


def option(default: Any = MISSING, *, help: str, stored: bool, **more: Any) -> Any:
    """A field of a class of options; no default: required. `more`: the other fields of `Option`."""
    return dataclasses.field(default=default, metadata={"option": Option(help, stored, **more)})


def group(kind: type[T]) -> T:
    """A field that holds another class of options, with its defaults."""
    made: T = dataclasses.field(default_factory=kind)
    return made


def declared(kind: type[Any]) -> tuple[Declared, ...]:
    """The options of a class and of the classes in it, in their order; of two with one name, the first.

    Raises TypeError for a field that is neither an option nor a class of options.
    """
    found: dict[str, Declared] = {}
    for each in _walk(kind):
        found.setdefault(each.name, each)
    return tuple(found.values())


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """An instance of a class of options from values by `Declared.key`; what is missing keeps its default."""
    given: dict[str, Any] = {}
    for field, hint in _fields(kind):
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            given[field.name] = build(hint, values)
        else:
            key = _declare(field, hint).key
            if key in values:
                value = values[key]
                given[field.name] = tuple(value or ()) if get_origin(hint) is tuple else value
    return kind(**given)


def values_of(options: Any) -> dict[str, Any]:
    """The values of an instance and of the classes of options in it, by `Declared.key`; of two, the first."""
    found: dict[str, Any] = {}
    for field, hint in _fields(type(options)):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(hint):
            for key, inner in values_of(value).items():
                found.setdefault(key, inner)
        else:
            found.setdefault(_declare(field, hint).key, value)
    return found


def take(kind: type[T], options: Any, **changes: Any) -> T:
    """An instance of `kind` with the values that `options` has of its fields, and `changes` by field."""
    names = {field.name for field, _ in _fields(kind)}
    shared = {field.name for field in dataclasses.fields(options)} & names
    return kind(**{name: getattr(options, name) for name in shared - changes.keys()}, **changes)


def stored_texts(options: Any, resolved: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Name and text of every option that changes results; `resolved` has values that replace those of `options`."""
    values = {**values_of(options), **resolved}
    for each in declared(type(options)):
        if each.option.stored:
            yield each.key, each.stored_text(values[each.key])


def check(options: Any) -> None:
    """Raises OptionError for a value that is too small or is none of the choices."""
    values = values_of(options)
    for each in declared(type(options)):
        value, least = values[each.key], each.option.least
        choices = choices_of(each.type)
        if value is None and NoneType in get_args(each.type):
            continue
        if choices and value not in choices:
            raise OptionError(f"--{each.name} {value}: choose {listed_choices(choices)}")
        if least is not None and not value >= least:
            unit = f" {each.option.unit}" if each.option.unit else ""
            raise OptionError(f"--{each.name} {value}: give at least {least:g}{unit}")


def choices_of(hint: Any) -> tuple[str, ...]:
    """The values of a Literal, also of one or None; empty for other types."""
    inner = _not_none(hint)
    return tuple(get_args(inner)) if get_origin(inner) is Literal else ()


def is_path(each: Declared, value: object) -> bool:
    """Whether the value of an option is a path."""
    if each.option.is_path is not None:
        return isinstance(value, str) and each.option.is_path(value)
    inner = _not_none(each.type)
    return inner is Path or Path in get_args(inner)


def _not_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        return next(each for each in get_args(hint) if each is not NoneType)
    return hint


def _walk(kind: type[Any]) -> Iterator[Declared]:
    for field, hint in _fields(kind):
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _walk(hint)
        else:
            yield _declare(field, hint)


def _fields(kind: type[Any]) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = get_type_hints(kind)
    return [(field, hints[field.name]) for field in dataclasses.fields(kind)]


def _declare(field: dataclasses.Field[Any], hint: Any) -> Declared:
    known = field.metadata.get("option")
    if not isinstance(known, Option):
        raise TypeError(f"{field.name}: declare it by option(...), which says whether it changes results")
    return Declared(known.name or field.name.replace("_", "-"), field.name, hint, field.default, known)
