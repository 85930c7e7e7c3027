"""`astr adapt` from the command line: what is refused, on rendered photos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from astr_cli.cli.app import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The six photos of the quickstart."""
    folder = tmp_path_factory.mktemp("courtyard")
    subprocess.run([sys.executable, str(ROOT / "examples" / "quickstart_scene.py"), str(folder)], check=True)
    return folder / "images"


def test_too_few_photos_are_refused_before_any_training_and_so_is_the_work_of_another_call(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new.safetensors"
    command = ["adapt", str(photos), "--out", str(out), "--long-side", "192", "--minutes", "0", "--device", "cpu"]
    assert run([*command, "--quiet"]) == 2
    assert "but at least 20 are needed; use more photos that overlap" in capsys.readouterr().err
    work = tmp_path / "new-work"
    assert (work / "model" / "sparse" / "0" / "images.bin").is_file() and not (work / "run").exists()
    assert not out.exists()
    command[command.index("192")] = "160"
    assert run([*command, "--quiet"]) == 2
    message = capsys.readouterr().err
    assert "long_side: 192 -> 160" in message and f"choose another --work, or remove {work} to start over" in message


def test_what_cannot_be_written_is_refused_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new.safetensors"
    out.touch()
    assert run(["adapt", str(tmp_path), "--out", str(out)]) == 2
    assert "new.safetensors: already exists; choose another --out" in capsys.readouterr().err
    assert run(["adapt", str(tmp_path), "--out", str(tmp_path / "new.bin")]) == 2
    assert "give a name that ends with .safetensors" in capsys.readouterr().err
