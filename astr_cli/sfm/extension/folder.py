"""The folder of a finished `astr reconstruct`: what an extension needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.errors import AstrError
from astr_cli.files import parse_json
from astr_cli.options.config_file import stored_options
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.sfm.mapping.mapper import ModelSummary
from astr_cli.sfm.own_files import is_model
from astr_cli.sfm.reconstruction.folder import CONFIG, CONFIG_HEAD, SUMMARY
from astr_cli.sfm.reconstruction.summary import model_of

FILES = ("pairs.txt", "matches.h5", "database.db", SUMMARY)


class Reconstruction(NamedTuple):
    """A finished reconstruction."""

    options: ReconstructOptions
    record: Mapping[str, Any]
    """The content of summary.json."""
    model: ModelSummary

    @property
    def matches(self) -> Path:
        """Of all pairs."""
        return self.options.out / "matches.h5"

    @property
    def database(self) -> Path:
        """What was mapped."""
        return self.options.out / "database.db"


def read_options(out: Path) -> ReconstructOptions:
    """The options of the run that made a folder. Raises AstrError: it is not of astr reconstruct."""
    file = out / CONFIG
    try:
        ours = file.read_text(encoding="utf-8", errors="replace").startswith(f"# {CONFIG_HEAD}")
    except OSError:
        ours = False
    if not ours:
        raise AstrError(f"{out}: is no folder that astr reconstruct made (it has no {CONFIG} of it); name its --out")
    return stored_options(file, "reconstruct", ReconstructOptions)


def read_reconstruction(options: ReconstructOptions) -> Reconstruction:
    """What a run has made. Raises AstrError: it is not finished."""
    out = options.out
    missing = next((out / name for name in FILES if not (out / name).is_file()), None)
    if missing is None and not is_model(options.sparse / "0"):
        missing = options.sparse / "0"
    if missing is not None or (out / "matches.h5.journal").is_dir():
        what = f"{missing} is missing" if missing is not None else "pairs are left to match"
        raise AstrError(f"{out}: is not finished ({what}); run astr reconstruct --config {out / CONFIG} first")
    try:
        record = parse_json((out / SUMMARY).read_bytes())
        return Reconstruction(options, record, model_of(record["model"], options.sparse / "0"))
    except (ValueError, KeyError, TypeError):
        raise AstrError(f"{out / SUMMARY}: is not as this astr writes it; run astr reconstruct again") from None
