"""The files that a report is made from: the folder of `astr reconstruct`, or one file or model alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.errors import AstrError
from astr_cli.files import parse_json
from astr_cli.sfm.mapping.mapper import ModelSummary
from astr_cli.sfm.reconstruction.stages import TIMES
from astr_cli.sfm.reconstruction.summary import model_of
from astr_cli.store.errors import StoreError
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.output import SIGNATURE

SQLITE = b"SQLite format 3\0"
MODEL_FILES = ("cameras.bin", "cameras.txt")
UNFINISHED = "matches.h5.journal"


class Sources(NamedTuple):
    """The files of a reconstruction; None: there is no such file."""

    named: Path
    """As the user named it."""
    matches: Path | None = None
    database: Path | None = None
    model: Path | None = None
    """A folder."""
    options: Path | None = None
    times: Path | None = None
    summary: Mapping[str, Any] | None = None
    """The content of summary.json."""

    @property
    def mapped(self) -> ModelSummary | None:
        """The model of summary.json; None: there is none, or an earlier astr wrote it."""
        if self.summary is None or self.model is None:
            return None
        try:
            return model_of(self.summary["model"], self.model)
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def page(self) -> Path:
        """Where the page is written unless the user says otherwise."""
        if self.named.is_dir():
            return self.named / "report.html"
        return self.named.with_name(f"{self.named.stem}-report.html")


def find_sources(path: Path) -> Sources:
    """The files of OUT of `astr reconstruct`, finished or not; or one matches.h5, database or COLMAP model.

    Raises AstrError: there is nothing to report.
    """
    if path.is_dir():
        return Sources(path, model=path) if _is_model(path) else _of_folder(path)
    if not path.exists():
        raise AstrError(f"{path}: no such file or folder; name OUT of astr reconstruct, or a matches.h5")
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(SIGNATURE):
        return Sources(path, matches=path)
    if head == SQLITE:
        return Sources(path, database=path)
    raise AstrError(f"{path}: is no matches.h5, no database and no folder with a model; name one of these")


def _of_folder(out: Path) -> Sources:
    found = Sources(
        out,
        matches=_file(out / "matches.h5"),
        database=_file(out / "database.db"),
        model=next((folder for folder in (out / "sparse" / "0", out / "0") if _is_model(folder)), None),
        options=_file(out / "options.toml"),
        times=_file(out / TIMES),
        summary=_read_summary(out / "summary.json"),
    )
    if found.matches is None and found.database is None and found.model is None:
        if (out / UNFINISHED).exists():
            raise AstrError(f"{out}: its pairs are still being matched; make the report when matches.h5 is there")
        raise AstrError(f"{out}: has no matches.h5, no database.db and no model; name OUT of astr reconstruct")
    return found


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _is_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in MODEL_FILES)


def _read_summary(path: Path) -> Mapping[str, Any] | None:
    """Raises AstrError: not written by astr reconstruct."""
    if not path.is_file():
        return None
    try:
        record = parse_json(path.read_bytes())
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or record.get("format") != 1:
        raise AstrError(f"{path}: was not written by this astr reconstruct; run it again, or name sparse/0 instead")
    return record


def find_photos(sources: Sources, given: Path | None, names: list[str]) -> Path | None:
    """The folder of the photos: the one given, else the one that the files name; None: it is gone.

    Raises AstrError: the given folder is none.
    """
    if given is not None:
        if not given.is_dir():
            raise AstrError(f"{given}: no such folder; name the folder of the photos with --images")
        return given
    # The first of many: a few photos may be gone.
    some = names[:: max(1, len(names) // 20)]
    return next((root for root in _roots(sources) if any((root / name).is_file() for name in some)), None)


def _roots(sources: Sources) -> Iterator[Path]:
    if sources.summary is not None:
        yield Path(str(sources.summary["database"]["images_root"]))
    folder = sources.named.resolve() if sources.named.is_dir() else sources.named.resolve().parent
    for above in (folder, *folder.parents[:2]):
        yield from _stored_roots(above / "matches.h5" if sources.matches is None else sources.matches)
        yield from (above / "images", above / "photos", above)


def _stored_roots(matches: Path) -> Iterator[Path]:
    """Where the photos of a matches file were, as seen from its folder and from the current one."""
    try:
        with MatchesFile(matches) as file:
            stored = file.attributes.get("images", "")
    except StoreError:  # of another program, or missing: the report is not about it
        return
    yield matches.resolve().parent / stored
    yield Path(stored)
