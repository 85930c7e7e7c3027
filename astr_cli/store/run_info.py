"""Everything that decides a run's results: two runs that agree on it can reuse each other's results."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.files import parse_json, read_own, write_whole
from astr_cli.store.errors import JournalMismatch, StoreError

JOURNAL_FORMAT = "2"
READ = ("1", JOURNAL_FORMAT)  # format 1 lacks the hash of an image's content
FOLDERS = ("images", "masks")  # options that name one


class ImageStamp(NamedTuple):
    """Which version of an image was matched."""

    name: str
    width: int  # raw pixels
    height: int
    mtime_ns: int
    file_size: int  # bytes
    content: str = ""  # SHA-256 of the photo, or of it and its mask; "": unknown, in a journal of format 1

    @staticmethod
    def of(values: Any) -> "ImageStamp":
        """The stamp from its values in JSON. Raises ValueError for anything else."""
        kinds = (str, int, int, int, int, str)
        good = isinstance(values, list) and 5 <= len(values) <= len(kinds)
        if not good or not all(isinstance(value, kind) for value, kind in zip(values, kinds, strict=False)):
            raise ValueError("not the stamp of an image")
        return ImageStamp(*values)

    def is_same(self, other: "ImageStamp") -> bool:
        """Whether both are of one content; where a hash is unknown, time and size decide."""
        if self[:3] != other[:3]:
            return False
        if self.content and other.content:
            return self.content == other.content
        return (self.mtime_ns, self.file_size) == (other.mtime_ns, other.file_size)


@dataclass(frozen=True)
class RunInfo:
    """Everything that decides a pair's matches.

    `options` hold, in a fixed order and as text, each option that changes a result, with the image root as given, the
    model's name and the weights' sha256; matches.h5 gets them as file attributes, in this order.
    """

    options: tuple[tuple[str, str], ...]
    images: tuple[ImageStamp, ...]
    matched: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """The size (width, height) that each image was matched at, as its raw pixels lie."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """The value of an option that stored results lack: they are older than the option."""

    def stamps(self) -> dict[str, ImageStamp]:
        """The images by name."""
        return {stamp.name: stamp for stamp in self.images}


class SavedRun(NamedTuple):
    """run.json of an interrupted run."""

    options: dict[str, str]
    fresh: bool  # begun with --overwrite: an older matches.h5 beside it is not to be used
    images: tuple[ImageStamp, ...]


def difference(old: Mapping[str, str], run: RunInfo, folder: Path) -> list[str]:
    """The options that differ, as 'name: old -> new', in the order of `run`; `folder` is the output's."""
    new, old = dict(run.options), {**run.absent, **old}
    names = [*new, *(name for name in old if name not in new)]
    return [
        f"{name}: {shown(old.get(name))} -> {shown(new.get(name))}"
        for name in names
        if old.get(name) != new.get(name)
        and not (name in FOLDERS and _same_folder(old.get(name), new.get(name), folder))
    ]


def _same_folder(old: str | None, new: str | None, folder: Path) -> bool:
    """Whether two texts name the same folder. Format 1 kept relative ones as given, from the current folder."""
    if old is None or new is None:
        return False
    return (folder / new).resolve() in ((folder / old).resolve(), Path(old).resolve())


def require_same(path: Path, old: Mapping[str, str], run: RunInfo) -> None:
    """Raise JournalMismatch with each option of `run` that differs from `old`; `path` is the file of `old`."""
    lines = difference(old, run, path.parent)
    if lines:
        raise JournalMismatch(
            f"{path}: was matched with other options ({'; '.join(lines)})",
            "use the old options, choose another --out, or start over with --overwrite",
        )


def save_run(path: Path, run: RunInfo, fresh: bool) -> None:
    """Write run.json, in one step: after a kill there is the old one or the new one. Raises OSError."""
    content = {
        "format": JOURNAL_FORMAT,
        "options": dict(run.options),
        "fresh": fresh,
        "images": [list(stamp) for stamp in run.images],
    }
    write_whole(path, json.dumps(content, ensure_ascii=False, indent=0))
    sync_folder(path.parent)


def load_run(path: Path) -> SavedRun | None:
    """Read run.json; None when there is none. Raises StoreError: damaged; JournalMismatch: other format."""
    try:
        content = parse_json(read_own(path))
        if content["format"] not in READ:
            raise JournalMismatch(
                f"{path}: has journal format {content['format']}, but this astr writes {JOURNAL_FORMAT}",
                "start over with --overwrite",
            )
        options = {str(name): str(value) for name, value in content["options"].items()}
        return SavedRun(options, bool(content["fresh"]), tuple(map(ImageStamp.of, content["images"])))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StoreError(f"{path}: damaged; start over with --overwrite") from None


def sync_folder(folder: Path) -> None:
    """Make renames and new files in `folder` survive a power cut, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems cannot; the content itself is synced
    finally:
        os.close(handle)


def shown(value: str | None) -> str:
    """The value of an option in a message: hashes are cut off."""
    if value is None:
        return "(not set)"
    return value[:12] if len(value) == 64 and not value.strip("0123456789abcdef") else value or "(empty)"
