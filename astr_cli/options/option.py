"""The declaration of an option, and the functions that read and build classes of options.

A class of options is a frozen dataclass whose every field is an `option(...)`, or another class of options.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, FrozenInstanceError, dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from astr_cli.errors import AstrError
from astr_cli.wording import listed_choices

T = TypeVar("T")


class OptionError(AstrError):
    """An option with an invalid value, or one that this machine does not support."""


@dataclass(frozen=True)
class Option:
    """The properties of an option besides its type and its default."""

    help: str
    """Begins with a verb or a noun; ends with a full stop."""
    stored: bool
    """Whether it changes results. If so, it is stored with them, and results with another value are never reused."""
    name: str | None = None
    """On the command line; None: the field's name with dashes."""
    short: str | None = None
    """One letter for the command line."""
    argument: bool = False
    """Whether it is given by position instead of by name."""
    panel: str | None = None
    """The heading of its group in the help."""
    default_text: str | None = None
    """The meaning of None."""
    switch: bool = False
    """Whether a flag also has a negative form: --name/--no-name."""
    least: float | None = None
    """The smallest value."""
    unit: str = ""
    """The unit of the value, for messages."""
    parse: Callable[[str], Any] | None = None
    """Converts the text of the command line to the value."""
    is_path: Callable[[str], bool] | None = None
    """Tells paths from other texts. Relative paths in a --config file start from its folder."""
    files_only: bool = False
    """Whether it applies only to photos on disk; then the Python API has no such keyword."""
    without_value: str = ""
    """The error if it is given without a value, as the flag that it once was; empty: Typer's error."""
    before: str | None = None
    """What applied to results that are older than the option; None: its default."""
    hidden: bool = False
    """Whether only other code sets it, not the command line."""


class Options:
    """What all classes of options have in common.

    They are `@dataclass(eq=False, repr=False)`, and cannot be changed: the methods that dataclasses would compile for
    every class, those of frozen=True among them, cost `astr --help` a fifth of its time.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in vars(self):
            raise FrozenInstanceError(f"cannot change {name} of {type(self).__name__}")
        object.__setattr__(self, name, value)

    def __post_init__(self) -> None:
        """Raises OptionError for a value that is too small or is not one of the choices."""
        check(self)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Declared(NamedTuple):
    """An option and its field."""

    name: str
    """On the command line, without the leading dashes; unique within a command."""
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
        """Whether it may be repeated."""
        return get_origin(self.type) is tuple

    @property
    def key(self) -> str:
        """The name as an identifier."""
        return self.name.replace("-", "_")

    @property
    def before(self) -> str:
        """The stored text of what applied before there was the option."""
        return self.stored_text(self.default) if self.option.before is None else self.option.before

    def stored_text(self, value: object) -> str:
        """The value in an attribute or a message: None becomes the text of the default."""
        if value is None:
            return self.option.default_text or "none"
        return str(value).lower() if isinstance(value, bool) else str(value)


def option(default: Any = MISSING, *, help: str, stored: bool, **more: Any) -> Any:
    """A field of a class of options; without a default it is required. `more`: the other fields of `Option`."""
    return dataclasses.field(default=default, metadata={"option": Option(help, stored, **more)})


def group(kind: type[T]) -> T:
    """A field with another class of options and its defaults."""
    made: T = dataclasses.field(default_factory=kind)
    return made


def declared(kind: Any) -> tuple[Declared, ...]:
    """The options of a class and of the classes in it, in order; if two have the same name, only the first.

    Raises TypeError for a field that is neither an option nor a class of options.
    """
    found: dict[str, Declared] = {}
    for each in _walk(kind):
        found.setdefault(each.name, each)
    return tuple(found.values())


def build(kind: type[T], values: Mapping[str, Any]) -> T:
    """An instance of a class of options from values by `Declared.key`; missing values keep their defaults."""
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
    """The values of an instance and of the classes of options in it, by `Declared.key`; for equal keys, the first."""
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
    """An instance of `kind` with the values of the fields that `options` shares with it, and `changes` by field."""
    names = {field.name for field, _ in _fields(kind)}
    shared = {field.name for field in dataclasses.fields(options)} & names
    return kind(**{name: getattr(options, name) for name in shared - changes.keys()}, **changes)


def stored_texts(options: Any, resolved: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Name and text of every option that changes results; values in `resolved` replace those of `options`."""
    values = {**values_of(options), **resolved}
    for each in declared(type(options)):
        if each.option.stored:
            yield each.key, each.stored_text(values[each.key])


def check(options: Any) -> None:
    """Raises OptionError for a value that is too small or not one of the choices."""
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
    """The values of a Literal or of an optional Literal; empty for other types."""
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


def _walk(kind: Any) -> Iterator[Declared]:
    for field, hint in _fields(kind):
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _walk(hint)
        else:
            yield _declare(field, hint)


def _fields(kind: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    return _known_fields(kind)


@cache  # `astr --help` asks for the same classes many times
def _known_fields(kind: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = get_type_hints(kind)
    return [(field, hints[field.name]) for field in dataclasses.fields(kind)]


def _declare(field: dataclasses.Field[Any], hint: Any) -> Declared:
    known = field.metadata.get("option")
    if not isinstance(known, Option):
        raise TypeError(f"{field.name}: declare it with option(...), which says whether it changes results")
    return Declared(known.name or field.name.replace("_", "-"), field.name, hint, field.default, known)
