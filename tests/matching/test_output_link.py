"""--out of `astr match` may be a link; the results are those of its target."""

import os

import pytest

from astr_cli.cli.app import run

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")


def test_an_output_that_is_a_link(scene) -> None:
    scene.write_pairs(scene.pairs[:2])
    (scene.root / "disk").mkdir()
    (scene.root / "m.h5").symlink_to("disk/real.h5")
    assert run(scene.arguments()) == 0
    assert (scene.root / "m.h5").is_symlink()
    assert [path.name for path in (scene.root / "disk").iterdir()] == ["real.h5"]
    assert run(scene.arguments("disk/real.h5")) == 0  # nothing to do: it is the same file
    assert (scene.root / "m.h5").samefile(scene.root / "disk" / "real.h5")


def test_links_in_a_circle(scene, capsys: pytest.CaptureFixture[str]) -> None:
    (scene.root / "m.h5").symlink_to("m.h5")
    assert run(scene.arguments()) == 2
    assert "circle" in capsys.readouterr().err
