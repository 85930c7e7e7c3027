"""Options: refused values, defaults by device, sizes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from astr_cli.matching.resources.compute import find_device, resolve_compute
from astr_cli.options.matching import MatchOptions, parse_size
from astr_cli.options.option import OptionError


def options(**changes: Any) -> MatchOptions:
    return MatchOptions(pairs=Path("scene/pairs.txt"), out=Path("m.h5"), **changes)


@pytest.mark.parametrize(
    "change",
    [
        {"long_side": 32},
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"max_matches": 0},
        {"batch": 0},
        {"workers": 0},
        {"memory": -1},
        {"precision": "fp8"},
    ],
)
def test_senseless_values_are_refused_by_name(change: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="--" + next(iter(change)).replace("_", "-")):
        options(**change)


@pytest.mark.parametrize("long_side", [64, 96, 127])
def test_tiles_need_a_core_between_their_margins(long_side: int) -> None:
    with pytest.raises(OptionError, match=f"^--tiles with --long-side {long_side}: give at least 128 pixels$"):
        options(tiles=True, long_side=long_side)
    assert options(long_side=long_side).long_side == long_side
    assert options(tiles=True).long_side is None


def test_cpu_defaults() -> None:
    compute = resolve_compute(options(device="cpu"))
    assert (compute.device.type, compute.precision, compute.long_side, compute.batch) == ("cpu", "fp32", 640, 1)


def test_given_values_win() -> None:
    compute = resolve_compute(options(device="cpu", precision="bf16", long_side=320, batch=3))
    assert (compute.precision, compute.long_side, compute.batch) == ("bf16", 320, 3)


def test_image_root_defaults_to_the_folder_of_the_pairs() -> None:
    assert options().root == Path("scene")
    assert options(images=Path("photos")).root == Path("photos")
    assert MatchOptions(pairs=Path("-"), out=Path("m.h5")).root == Path()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_absent_gpu_is_refused_with_what_to_do() -> None:
    with pytest.raises(OptionError, match=r"--device cuda:.*CPU"):
        find_device("cuda")
    assert find_device("auto").type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "mps", "cpu:1"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match="choose auto, cpu, cuda"):
        find_device(name)


def test_sizes() -> None:
    assert [parse_size(text) for text in ("0", "123", "2k", "500M", "1.5G", "2 GiB", "1tb")] == [
        0, 123, 2048, 500 << 20, 3 << 29, 2 << 30, 1 << 40,
    ]  # fmt: skip
    for text in ("", "G", "-1", "2X", "1e9"):
        with pytest.raises(OptionError, match="--memory"):
            parse_size(text)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("precision", "fp16", "--precision fp16: choose fp32 or bf16"),
        ("rotate", "left", "--rotate left: choose exif, auto or none"),
        ("scaling", None, "--scaling None: choose auto or off"),
    ],
)
def test_words_that_are_not_known(name: str, given: str | None, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        MatchOptions(pairs=Path("p.txt"), out=Path("m.h5"), **{name: given})
