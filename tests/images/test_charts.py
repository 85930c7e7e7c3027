"""Charts: their files, and what happens without matplotlib."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.images.charts import COLOURS, ChartFolder, NoMatplotlib, chart, check_charts, encoded, is_chart


def drawn() -> bytes:
    with chart(3, 2) as figure:
        figure.subplots().plot([1, 2], [3, 4])
        return encoded(figure)


def test_equal_charts_have_equal_bytes_and_the_colours_of_the_pages(tmp_path: Path) -> None:
    assert drawn() == drawn()
    (tmp_path / "a.png").write_bytes(drawn())
    assert is_chart(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        found = {"#{:02x}{:02x}{:02x}".format(*colour[:3]) for _, colour in image.getcolors(100_000)}
    assert {COLOURS["accent"], COLOURS["paper"], COLOURS["line"]} <= found


def test_the_settings_of_matplotlib_come_back() -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    drawn()
    assert dict(rcParams) == before


def test_other_files_keep_their_names(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "speed.png")
    foreign = (tmp_path / "speed.png").read_bytes()
    folder = ChartFolder(tmp_path)
    with chart(3, 2) as figure:
        assert folder.write(figure, "speed").name == "speed-2.png"
        assert folder.write(figure, "speed").name == "speed-2.png"  # its own is replaced
    assert (tmp_path / "speed.png").read_bytes() == foreign
    assert {path.name for path in tmp_path.iterdir()} == {"speed.png", "speed-2.png"}
    with pytest.raises(AstrError, match="is no folder; choose another --plots"):
        ChartFolder(tmp_path / "speed.png")


def test_without_matplotlib_nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(NoMatplotlib):
        check_charts()
    for command in (["operator"], ["pipeline", str(tmp_path)]):
        assert run(["bench", *command, "--plots", str(tmp_path / "charts")]) == 2
        printed = capsys.readouterr()
        assert printed.err.splitlines() == ["astr: charts need matplotlib; install it: pip install 'astr-cli[train]'"]
        assert printed.out == "" and not (tmp_path / "charts").exists()
