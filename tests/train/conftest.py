"""What the tests of training share."""

from pathlib import Path

import pytest

from .megadepth_folder import make_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Photos and depths below megadepth/train, with a hole in each depth, and two index files."""
    return make_folder(tmp_path)
