"""The door to pycolmap: which versions get through (tests/matrix.sh runs everything else here on several)."""

import re
from pathlib import Path

import pytest

from astr_cli.errors import AstrError
from astr_cli.sfm.colmap import OLDEST, check_version, known_models, pycolmap


def test_old_versions_are_refused_in_one_line() -> None:
    for version in ("3.12.6", "3.13.0", "0.6.1", "4.1.1"):
        with pytest.raises(AstrError, match=rf"^pycolmap {version} is too old; install 4\.2 or newer: pip install"):
            check_version(version)
    for version in ("4.2.0", "4.2.1", "4.10", "5.0.0rc1", pycolmap.__version__):
        check_version(version)


def test_the_package_asks_for_the_same_version() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'"pycolmap>=([\d.]+)"', text) == [".".join(map(str, OLDEST))]


def test_camera_models_are_known_by_name() -> None:
    assert {"SIMPLE_RADIAL", "OPENCV", "OPENCV_FISHEYE"} <= known_models()
