"""`astr extend` where keypoints were refined on the pixels of photos: new ones are aligned to the existing ones."""

from pathlib import Path

import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.sfm.database.contents import read_existing
from astr_cli.sfm.database.keypoints import read_points
from astr_cli.sfm.extension import extend as module
from astr_cli.sfm.reconstruction import reconstruct as reconstruct_module

from .extending import Place, error_of, stand_in
from .rendered import LONG_SIDE, rendered

COMMAND = ["--camera-mode", "single", "--long-side", str(LONG_SIDE), "--no-report"]


def test_new_keypoints_are_refined_and_existing_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = rendered(tmp_path)
    (tmp_path / "photos").rename(tmp_path / "all")
    place, out = Place(scene, tmp_path, []), tmp_path / "out"
    for each in (reconstruct_module, module):
        monkeypatch.setattr(each, "match_pairs", stand_in(scene, place.calls))
    place.add(*scene.names[:-1])
    assert run(["reconstruct", place.photos, "--out", place.out, *COMMAND]) == 0
    assert read_existing(out / "database.db").notes["refine"].startswith("tracks")
    first, before = error_of(out, scene), read_points(out / "database.db")
    place.add(scene.names[-1])
    assert run(["extend", place.out, place.photos]) == 0
    after = read_points(out / "database.db")
    for name, points in before.items():
        assert len(points) >= 200 and np.array_equal(after[name][: len(points)], points)
    # The existing poses stay, so no new one is better than they are. Aligned to other keypoints, they are twice as bad.
    assert error_of(out, scene) < 1.5 * first
