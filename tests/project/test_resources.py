"""Names and paths of weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from astr_cli import resources
from astr_cli.errors import AstrError


def test_the_default_ships() -> None:
    path = resources.weights_path(resources.DEFAULT_WEIGHTS)
    assert path.name == f"{resources.DEFAULT_WEIGHTS}.safetensors"
    assert path.is_file()
    assert resources.DEFAULT_WEIGHTS in resources.shipped_weights()


def test_a_path_is_itself(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"x")
    assert resources.weights_path(str(file)) == file
    assert resources.weights_path(file) == file


def test_a_mistyped_name_gets_the_nearest() -> None:
    with pytest.raises(AstrError, match=r"^astr-smal: no such weights; did you mean astr-small\?; use .*astr-small"):
        resources.weights_path("astr-smal")


def test_a_mistyped_path_gets_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "facade.safetensors").write_bytes(b"x")
    with pytest.raises(AstrError, match=r"did you mean .*facade\.safetensors\?"):
        resources.weights_path(tmp_path / "fasade.safetensors")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AstrError, match="is a folder"):
        resources.weights_path(tmp_path)


def test_the_operator_has_its_folder() -> None:
    assert resources.cuda_folder().is_dir()
    assert not (resources.cuda_folder() / "__init__.py").exists()
    assert not (resources.weights_folder() / "__init__.py").exists()
