"""Imports run one way, and heavy libraries stay where docs/design.md (Layout) puts them."""

from __future__ import annotations

import ast
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "astr_cli"

# What each part may import of the package besides itself; "" is the package's own __init__, the Python API.
BOTTOM = {"errors", "resources", "wording", "options", "names", "files"}
STAGES = {"ops": BOTTOM - {"options"}}
STAGES |= {part: {"ops"} | BOTTOM for part in ("model", "store", "images", "pairs", "scenes")}
STAGES["refine"] = BOTTOM
STAGES["matching"] = set(STAGES)
TOWER = ("matching", "sfm", "evaluate", "train", "adapt", "cli")
for lower, upper in pairwise(TOWER):
    STAGES[upper] = STAGES[lower] | {lower}
STAGES["bench"], STAGES["doctor"] = STAGES["train"], STAGES["sfm"]
STAGES["report"] = STAGES["evaluate"]
STAGES["cli"] |= {"bench", "doctor", "report"}
STAGES |= {"": set(STAGES) - {"cli"}, "__main__": {"cli"}, "errors": set(), "resources": {"errors"}, "wording": set()}
STAGES |= {"options": {"errors", "wording"}, "names": {"errors"}, "files": {"errors"}}
for part in STAGES.keys() - BOTTOM - {"ops"}:
    STAGES[part] = STAGES[part] | BOTTOM

LIBRARIES = {"torch", "numpy", "scipy", "cv2", "PIL", "h5py", "pycolmap", "safetensors", "typer", "rich", "tqdm"}
LIBRARIES |= {"numba"}
FILES = {"pathlib", "os", "io", "tempfile", "shutil", "hashlib"}
ALLOWED = {
    "ops": {"torch"},
    "refine": {"numpy", "scipy", "numba", "cv2"},
    "model": {"torch", "numpy", "scipy", "cv2"},  # numpy and what follows: robust affine fits of the adaptive scaling
    "scenes": {"torch"},
    "store": {"numpy", "h5py"},
    "images": {"numpy", "cv2", "PIL"},
    "pairs": set(),
    "matching": LIBRARIES - {"pycolmap", "typer", "rich"},
    "sfm": LIBRARIES - {"typer", "rich", "torch"},  # cv2: the check for repeats compares patches
    "evaluate": LIBRARIES - {"pycolmap", "typer", "rich"},
    "train": LIBRARIES - {"pycolmap", "typer", "rich"},
    "adapt": {"numpy", "shutil", "hashlib"},
    "report": {"numpy", "torch", "cv2"},
    "bench": {"torch", "numpy"},
    "doctor": {"torch", "h5py"},
    "cli": {"typer", "rich"},
    "": set(),
    "__main__": set(),
    "errors": set(),
    "files": set(),
    "names": set(),
    "options": set(),
    "resources": set(),
    "wording": set(),
}
EXCEPTIONS = {
    "model/checkpoint.py": {"safetensors"} | FILES,
    "ops/backends.py": {"os"},  # the environment variable that chooses a backend
    "ops/numba_kernels.py": {"numba", "numpy"},
    "ops/numba_attention.py": {"numpy"},
    "images/charts.py": {"matplotlib"},
}


class Import(NamedTuple):
    line: int
    module: str  # absolute, dotted


def imports_of(path: Path, package_root: Path) -> list[Import]:
    """Every import of a file, also inside functions, with relative ones made absolute."""
    here = path.relative_to(package_root.parent).with_suffix("").parts
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [Import(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(here[: len(here) - node.level]) if node.level else []
            stem = ".".join(base + ([node.module] if node.module else []))
            found += [Import(node.lineno, f"{stem}.{alias.name}") for alias in node.names]
    return found


def part_of(parts: tuple[str, ...], package_root: Path) -> str:
    """The part of the package that dotted parts after its name belong to; "" for the package's own names."""
    if not parts or not ((package_root / parts[0]).is_dir() or (package_root / f"{parts[0]}.py").is_file()):
        return ""
    return "" if parts[0] == "__init__" else parts[0]


def violations(package_root: Path) -> list[str]:
    """One line for each import that the layout forbids."""
    found = []
    for path in sorted(package_root.rglob("*.py")):
        relative = path.relative_to(package_root)
        part = part_of(relative.with_suffix("").parts, package_root)
        allowed = ALLOWED[part] | EXCEPTIONS.get(relative.as_posix(), set())
        forbidden = (LIBRARIES | (FILES if part in ("model", "ops", "refine") else set())) - allowed
        for line, module in imports_of(path, package_root):
            names = tuple(module.split("."))
            if names[0] == package_root.name:
                target = part_of(names[1:], package_root)
                if target != part and target not in STAGES[part]:
                    found.append(f"{relative.as_posix()}:{line}: {part or 'the package'} imports {target or PACKAGE}")
            elif names[0] in forbidden:
                found.append(f"{relative.as_posix()}:{line}: {part or 'the package'} imports {names[0]}")
    return found


def test_imports_run_one_way() -> None:
    assert violations(ROOT / PACKAGE) == []


def test_every_part_has_a_place_in_the_order() -> None:
    parts = {path.stem if path.is_file() else path.name for path in (ROOT / PACKAGE).iterdir()}
    assert parts - {"__pycache__", "__init__"} == set(STAGES) - {""}


def test_every_library_is_declared() -> None:
    """What the package imports is the standard library, itself, or a dependency listed in pyproject.toml."""
    declared = LIBRARIES | {"cuda", "matplotlib", "pillow_heif", "plotly", "poselib", "pyproj", "tomli", "tomli_w"}
    declared |= {"ray"}
    outside = {
        f"{path.name}:{line}: {module}"
        for path in (ROOT / PACKAGE).rglob("*.py")
        for line, module in imports_of(path, ROOT / PACKAGE)
        if (top := module.split(".")[0]) not in declared | {PACKAGE} and top not in sys.stdlib_module_names
    }
    assert outside == set()


@pytest.mark.parametrize(
    ("path", "line", "message"),
    [
        ("ops/a.py", "from ..model import layers", "ops imports model"),
        ("store/a.py", "from astr_cli.images import resize", "store imports images"),
        ("store/a.py", "def f():\n    import torch", "store imports torch"),
        ("matching/a.py", "import pycolmap.logging", "matching imports pycolmap"),
        ("model/layers.py", "from pathlib import Path", "model imports pathlib"),
        ("cli/a.py", "import numpy as np", "cli imports numpy"),
        ("images/a.py", "from astr_cli import Matcher", "images imports astr_cli"),
        ("errors.py", "from . import resources", "errors imports resources"),
        ("options/a.py", "import typer", "options imports typer"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, path: str, line: str, message: str) -> None:
    package = tmp_path / PACKAGE
    for part in STAGES:
        if part in (BOTTOM | {"__main__"}) - {"options"}:
            (package / f"{part}.py").write_text("")
        else:
            (package / part).mkdir(parents=True, exist_ok=True)
    (package / path).write_text(line)
    found = violations(package)
    assert len(found) == 1
    assert found[0].endswith(message)
