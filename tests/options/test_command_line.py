"""The command line that comes from the declarations: `--config`, options given twice, names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from astr_cli.cli.app import run
from astr_cli.cli.generated import add_command
from astr_cli.errors import AstrError
from astr_cli.options.config_file import config_text
from astr_cli.options.database import ImportOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.options.matching import MatchingOptions, MatchOptions
from astr_cli.options.output import OutputOptions
from astr_cli.options.pairs import PairListOptions
from astr_cli.options.reconstruct import ReconstructOptions


class Kept:
    """A program of one command that keeps what it was given."""

    def __init__(self, kind: type[Any]) -> None:
        self.app = typer.Typer(add_completion=False)
        self.given: list[Any] = []

        def command(options: Any, output: OutputOptions) -> int:
            """Keeps its options."""
            self.given.append(options)
            return 0

        command.__annotations__["options"] = kind
        add_command(self.app, "keep", command)

    def __call__(self, *arguments: str) -> Any:
        """Raises what the command line raises."""
        self.app(args=[*arguments], prog_name="keep", standalone_mode=False)
        return self.given[-1]


def test_options_become_an_instance_of_their_class() -> None:
    found = Kept(MatchOptions)("p.txt", "--out", "m.h5", "--tiles", "--memory", "2K", "--rotate", "auto")
    expected = MatchOptions(pairs=Path("p.txt"), out=Path("m.h5"), tiles=True, memory=2048, rotate="auto")
    assert found == expected


def test_switches_and_repeated_options() -> None:
    found = Kept(ImportOptions)("a.db", "--no-verify", "--camera-model", "pinhole")
    assert not found.verify and found.backup and found.cameras.model == "PINHOLE"
    assert Kept(PairListOptions)("--union", "a", "--union", "b").union == (Path("a"), Path("b"))


def test_an_option_given_twice_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["match", "p.txt", "--out", "a.h5", "--long-side", "640", "-o", "b.h5"]) == 2
    assert "--out is given more than once" in capsys.readouterr().err
    with pytest.raises(typer.BadParameter, match="--threshold is given more than once"):
        Kept(MatchOptions)("p.txt", "--out", "m.h5", "--threshold", "0.2", "--threshold", "0.3")


def test_a_config_file_gives_defaults_and_the_command_line_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "o.toml").write_text(
        'pairs = "p.txt"\nout = "m.h5"\nlong-side = 320\nthreshold = 0.5\n'
        'tiles = true\nmemory = "1K"\ncameras = "none"\n'
    )
    monkeypatch.chdir(tmp_path)
    found = Kept(MatchOptions)("--config", "sub/o.toml", "--threshold", "0.4")
    assert found == MatchOptions(
        pairs=Path("sub/p.txt"),
        out=Path("sub/m.h5"),
        long_side=320,
        threshold=0.4,
        tiles=True,
        memory=1024,
        cameras="none",
    )
    (tmp_path / "sub" / "o.toml").write_text('cameras = "known.txt"\nweights = "w.safetensors"\n')
    found = Kept(MatchOptions)("p.txt", "--out", "m.h5", "--config", "sub/o.toml")
    assert (found.cameras, found.weights) == ("sub/known.txt", "sub/w.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("long-sied = 320", "astr match has no option 'long-sied'; did you mean 'long-side'"),
        ("long-side = ", "is not TOML"),
        ("long-side = [1, 2]", "'long-side' takes a single value"),
        ("long-side = true", "'long-side' takes a single value"),
        ("tiles = 1", "'tiles' takes true or false"),
        ("[match]\nlong-side = 1", "astr match has no option 'match'"),
    ],
)
def test_a_config_file_that_cannot_be_used_is_one_line(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "o.toml").write_text(content)
    assert run(["match", "p.txt", "--out", "m.h5", "--config", str(tmp_path / "o.toml")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert run(["match", "--config", str(tmp_path / "gone.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_written_config_gives_the_same_options_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ReconstructOptions(
        Path("photos"),
        Path("model"),
        matching=MatchingOptions(long_side=320, memory=1 << 20, masks=Path("masks"), cameras="sparse/0"),
        mapping=MapOptions(seed=3, mapper_option=("min_model_size=5", "ba_refine_focal_length=false")),
    )
    (tmp_path / "model").mkdir()
    text = config_text(options, Path("model"), "written by a test")
    assert text.startswith("# written by a test\n")
    (tmp_path / "model" / "options.toml").write_text(text, encoding="utf-8")
    again = Kept(ReconstructOptions)("--config", "model/options.toml")
    assert again.matching == options.matching and again.mapping == options.mapping
    assert (again.photos, again.out, again.choice) == (options.photos, options.out, options.choice)
    assert again.cameras.cameras == "sparse/0"


def test_names_of_photos_survive_in_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd = 'ph"o\\to é\tx'
    text = config_text(ReconstructOptions(Path(odd), Path("o")), Path("o"), "x")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "options.toml").write_text(text, encoding="utf-8")
    assert Kept(ReconstructOptions)("--config", "o/options.toml").photos == Path(odd)


def test_a_mapper_option_without_a_value_is_refused() -> None:
    with pytest.raises(AstrError, match="NAME=VALUE"):
        MapOptions(mapper_option=("min_model_size",))
