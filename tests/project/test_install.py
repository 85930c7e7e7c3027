"""A wheel carries weights/ and cuda/ and matches from any folder, and so does an editable install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = (".gitignore", "astr_cli", "weights", "cuda", "pyproject.toml", "README.md", "LICENSE")
WHERE = "from astr_cli import resources as r; print(r.__file__, r.weights_folder(), r.cuda_folder(), sep='\\n')"
KERNELS = """
from astr_cli.ops.cuda_launch import source
for name in ("attend", "attend_backward", "scores", "matching"):
    print(source(name).count("__global__"))
"""


pytestmark = pytest.mark.slow


class Pair(NamedTuple):
    pairs_file: Path
    shift: int  # pixels that everything stands further left in the second photo


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Runs a command in `folder`, without what the tests' own environment would add, and returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ASTR_"))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what makes up a distribution: the build cannot leave anything in the checkout."""
    folder = tmp_path_factory.mktemp("source")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source], folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment that borrows astr's dependencies from this one, but not astr itself.

    A .pth file adds a folder without reading the .pth files in it, and an editable install is one of those.
    """
    folder = tmp_path / "environment"
    run([sys.executable, "-m", "venv", "--without-pip", folder], tmp_path)
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def install(environment: Path, *arguments: str | Path) -> None:
    python = environment / "bin" / "python"
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--force-reinstall", "--quiet"]
    run([sys.executable, "-m", "pip", "--python", python, "install", *options, *arguments], environment)


@pytest.fixture(scope="module")
def pair(write_pair: Callable[[Path, str, str], int], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A folder, with a blank in its name, of two photos and their pairs file."""
    folder = tmp_path_factory.mktemp("two photos")
    shift = write_pair(folder, "left.png", "right.png")
    (folder / "pairs.txt").write_text("left.png right.png\n", encoding="utf-8")
    return Pair(folder / "pairs.txt", shift)


def matches_from_any_folder(environment: Path, pair: Pair, tmp_path: Path) -> None:
    """Runs the installed command in a folder of its own, and checks what it found against the known shift."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    run([environment / "bin" / "astr", "match", pair.pairs_file, "--out", "m.h5", "--device", "cpu"], folder)
    with h5py.File(folder / "m.h5") as file:
        group = file["left.png/right.png"]
        moved = np.asarray(group["keypoints0"]) - np.asarray(group["keypoints1"])
    assert len(moved) >= 200
    assert np.abs(np.median(moved, axis=0) - (pair.shift, 0)).max() < 0.5


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"astr_cli"}
    for folder in ("weights", "cuda"):
        carried = {name.removeprefix("astr_cli/") for name in names if name.startswith(f"astr_cli/{folder}/")}
        assert carried == {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert not any(name.endswith(".py") for name in carried)
    assert "astr_cli/weights/astr-small.safetensors" in names


def test_the_wheel_matches_from_any_folder(wheel: Path, environment: Path, pair: Pair, tmp_path: Path) -> None:
    install(environment, wheel)
    module, weights, cuda = run([environment / "bin" / "python", "-c", WHERE], tmp_path).splitlines()
    assert Path(module).is_relative_to(environment)
    assert [Path(weights), Path(cuda)] == [Path(module).parent / "weights", Path(module).parent / "cuda"]
    assert run([environment / "bin" / "python", "-c", KERNELS], tmp_path).split() == ["1", "2", "3", "2"]
    matches_from_any_folder(environment, pair, tmp_path)


def test_an_editable_install_matches_from_any_folder(
    source: Path, environment: Path, pair: Pair, tmp_path: Path
) -> None:
    install(environment, "--editable", source)
    module, weights, cuda = run([environment / "bin" / "python", "-c", WHERE], tmp_path).splitlines()
    assert Path(module) == source / "astr_cli" / "resources.py"
    assert [Path(weights), Path(cuda)] == [source / "weights", source / "cuda"]
    assert run([environment / "bin" / "python", "-c", KERNELS], tmp_path).split() == ["1", "2", "3", "2"]
    assert not list(environment.rglob("*.safetensors"))
    matches_from_any_folder(environment, pair, tmp_path)
