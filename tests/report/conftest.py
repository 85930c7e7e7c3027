"""A reconstruction of simulated matches, with photos whose names try everything."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.matching.run.events import MatchSummary
from astr_cli.options.matching import MatchOptions
from astr_cli.sfm.reconstruction import reconstruct as module

from ..sfm.conftest import Scene, arc, make_scene

NAMES = (
    'a "quoted" one.png',
    "<b>bold</b> & <img src=x onerror=alert(1)>.png",
    "it's 🙂.png",
    "sub/</script><script>alert(1)<!--.png",
    "é.png",
)
SIZE = (512, 384)


def write_photos(scene: Scene, folder: Path) -> None:
    """Colours that change from left to right and from top to bottom."""
    x, y = np.meshgrid(np.linspace(0, 255, SIZE[0]), np.linspace(0, 255, SIZE[1]))
    for number, name in enumerate(scene.names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([x, y, np.full_like(x, 40 * number)], axis=-1).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/ and out/ as `astr reconstruct` makes it, with a simulator in the place of the matching step."""
    folder = tmp_path_factory.mktemp("report")
    pairs = list(itertools.combinations(range(len(NAMES)), 2))
    scene = make_scene(NAMES, arc(len(NAMES), SIZE, 480), pairs, 320, 9.0, coarse=300, outliers=0.05)
    write_photos(scene, folder / "photos")

    def match(options: MatchOptions, listener: Any) -> MatchSummary:
        scene.write(options.out, "../photos")
        return MatchSummary(options.out, len(pairs), len(pairs), 0, (), 1, len(NAMES), 0, 0, 1.0)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "match_pairs", match)
        command = ["reconstruct", str(folder / "photos"), "--out", str(folder / "out"), "--camera-mode", "single"]
        assert run([*command, "--quiet"]) == 0
    return folder


def data_of(page: Path) -> dict[str, Any]:
    """What the page's script reads."""
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def with_repeats(made: Path, out: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The page of a copy whose summary names a misled pair, and what it says of it."""
    shutil.copytree(made / "out", out)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    first, second = sorted(NAMES)[:2]
    repeats = [{"name0": first, "name1": second, "left_out": True, "reason": "30 of 40 matches end <i>elsewhere</i>"}]
    summary["model"]["repeats"] = repeats
    (out / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert run(["report", str(out), "--images", str(made / "photos"), "--quiet"]) == 0
    return out / "report.html", repeats
