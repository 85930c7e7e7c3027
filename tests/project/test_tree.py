"""House rules that a program can check: lengths, portability, scripts."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# One subject per file. A file near the limit usually holds two.
FILE_LINES, FUNCTION_LINES = 450, 50
FOLDERS = (".ci", "astr_cli", "cuda", "docs", "examples", "tests", "weights")
TEXT = {".py", ".md", ".sh", ".toml", ".txt", ".cu", ""}
SCRIPTS = [ROOT / ".ci" / "run", *sorted(ROOT.glob("*/*.sh"))]

# A folder of some machine, or an address of a private network, in a file that others will read.
MACHINE = re.compile(r"(?<![\w./~$}])/(?:work|root|home|mnt|media|Users|tmp)/\w|(?:10|192\.168|127)\.\d+\.\d+\.\d+")


def project_files() -> list[Path]:
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    return sorted(path for path in [*inside, *ROOT.iterdir()] if path.is_file() and path.suffix in TEXT)


def test_files_are_short() -> None:
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in project_files() if path.suffix == ".py"
    }
    assert [f"{path.relative_to(ROOT)}: {lines}" for path, lines in lengths.items() if lines > FILE_LINES] == []


def test_functions_are_short() -> None:
    """Counted from the line after the signature: a command's options are a table, not code."""
    long = []
    for path in project_files():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.body[0].lineno + 1
                if lines > FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}")
    assert long == []


def test_nothing_points_into_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in project_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert found == []


def test_no_photo_is_in_the_tree() -> None:
    """But for the pictures of README and docs, which show a scene that the project renders itself."""
    photos = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".heic"}
    pictures = {ROOT / "docs" / name for name in ("matches.jpg", "track_patches.jpg", "report.jpg")}
    inside = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    assert [str(path) for path in inside if path.suffix.lower() in photos and path not in pictures] == []
    assert all(picture.stat().st_size < 300_000 for picture in pictures)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_scripts_pass_shellcheck() -> None:
    done = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
