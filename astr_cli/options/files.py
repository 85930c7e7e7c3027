"""The options of commands that read or write files of matches: check, doctor, export, and the drawings of match."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.database import JoinOptions
from astr_cli.options.matching import FILES
from astr_cli.options.option import Options, group, option


@dataclass(eq=False, repr=False)
class PlotOption(Options):
    """Drawings of matched pairs."""

    plots: Path | None = option(
        None,
        help="After matching, draw up to 100 pairs into this folder; red is a low score, green is high.",
        stored=False,
        panel=FILES,
    )


@dataclass(eq=False, repr=False)
class SampleOption(Options):
    """The number of pairs that `astr plan` matches."""

    sample: int = option(
        5,
        help="Pairs to match as a timing sample (rounded up to two rounds of --batch x --jobs). Their results are "
        "discarded. 0: none.",
        stored=False,
        least=0,
    )


@dataclass(eq=False, repr=False)
class MergeOptions(Options):
    """The options of `astr merge`."""

    out: Path = option(help="HDF5 file to write.", stored=False, argument=True)
    inputs: tuple[Path, ...] = option(
        help="Files that astr match wrote with the same options.", stored=False, argument=True
    )
    pairs: Path | None = option(
        None, help="Pairs file of the run: refuse to merge while a pair of it is missing.", stored=False
    )
    overwrite: bool = option(False, help="Replace an existing file of astr.", stored=False)


@dataclass(eq=False, repr=False)
class CheckOptions(Options):
    """The options of `astr check`."""

    paths: tuple[Path, ...] = option(
        help="HDF5 files of astr, hloc, kornia or Kaggle, COLMAP databases, or folders of them.",
        stored=False,
        argument=True,
    )
    as_json: bool = option(False, name="json", help="Print one JSON object per file on standard output.", stored=False)
    quiet: bool = option(
        False, help="Print only errors; the exit code says whether there are problems.", stored=False, short="q"
    )


@dataclass(eq=False, repr=False)
class DoctorOptions(Options):
    """The options of `astr doctor`."""

    folder: Path = option(Path(), help="Folder for results, to be checked as well.", stored=False, argument=True)


@dataclass(eq=False, repr=False)
class ExportOptions(Options):
    """The options of `astr export`."""

    matches: Path = option(
        help="File written by astr match, or a folder with a COLMAP model.", stored=False, argument=True
    )
    out: Path = option(help="Folder to write into.", stored=False, short="o")
    format: str = option("hloc", help="Format to write; `astr export --help` describes them.", stored=False, short="f")
    images: Path | None = option(
        None,
        help="Folder of the photos; only openmvg and the formats of models need it.",
        stored=False,
        default_text="where they were matched; for a model, where astr reconstruct had them",
    )
    tracks: JoinOptions = group(JoinOptions)
    overwrite: bool = option(False, help="Replace the files of an earlier export.", stored=False)
