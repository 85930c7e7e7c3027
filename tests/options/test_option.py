"""Declarations of options: nothing that changes results is forgotten, and classes are taken apart and put together."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import astr_cli.options
from astr_cli.options.database import CameraOptions, ImportOptions, TrackOptions
from astr_cli.options.matching import MatchingOptions, MatchOptions
from astr_cli.options.option import (
    Option,
    OptionError,
    build,
    check,
    declared,
    option,
    stored_texts,
    take,
    values_of,
)
from astr_cli.options.reconstruct import ReconstructOptions

MODULES = [
    importlib.import_module(f"astr_cli.options.{each.name}") for each in pkgutil.iter_modules(astr_cli.options.__path__)
]
CLASSES = sorted(
    {
        kind
        for module in MODULES
        for kind in vars(module).values()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in (Option,)
    },
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_field_is_declared_as_stored_or_harmless(kind: type[Any]) -> None:
    found = declared(kind)
    assert found
    for each in found:
        assert isinstance(each.option.stored, bool), each.name
        assert each.option.help[0].isupper() or each.option.help.split()[0].rstrip(":,") in each.option.help, each.name
        assert each.option.help.endswith("."), each.name


def test_a_field_that_does_not_say_whether_it_changes_results_is_refused() -> None:
    @dataclass(frozen=True)
    class Forgetful:
        silent: int = 3

    with pytest.raises(TypeError, match="silent: declare it"):
        declared(Forgetful)
    with pytest.raises(TypeError, match="stored"):
        option(3, help="Something.")  # type: ignore[call-arg]


def test_what_changes_matches_is_stored() -> None:
    stored = {each.key for each in declared(MatchingOptions) if each.option.stored}
    harmless = {"device", "batch", "jobs", "workers", "memory"}
    assert {each.key for each in declared(MatchingOptions)} - stored == harmless
    texts = dict(stored_texts(MatchingOptions(), {"long_side": 640}))
    assert texts["long_side"] == "640" and texts["max_matches"] == "all" and texts["tiles"] == "false"


def test_results_that_are_older_than_an_option_were_made_without_it() -> None:
    older = {each.key: each.before for each in declared(MatchingOptions)}
    assert older["focus"] == "off"
    assert older["scaling"] == "auto"


def test_classes_go_apart_and_together() -> None:
    cameras = CameraOptions("single", params="1,2,3,4")
    options = ImportOptions(Path("a.db"), cameras=cameras, tracks=TrackOptions(min_score=0.5))
    values = values_of(options)
    assert values["camera_mode"] == "single" and values["min_score"] == 0.5 and values["db"] == Path("a.db")
    assert build(ImportOptions, values) == options


def test_of_two_options_with_one_name_each_class_gets_the_value() -> None:
    options = build(ReconstructOptions, {"photos": Path("p"), "out": Path("o"), "cameras": "known.txt"})
    assert options.matching.cameras == options.cameras.cameras == "known.txt"
    assert options.cameras.known == Path("known.txt")


def test_a_class_takes_the_values_of_another() -> None:
    options = take(MatchOptions, MatchingOptions(threshold=0.4), pairs=Path("p"), out=Path("o"))
    assert options.threshold == 0.4 and options.out == Path("o")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"long_side": 8}, "--long-side 8: give at least 64 pixels"),
        ({"rotate": "left"}, "--rotate left: choose exif, auto or none"),
        ({"scaling": None}, "--scaling None: choose auto or off"),
    ],
)
def test_values_are_checked_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=f"^{message}$"):
        check(MatchingOptions(**given))
