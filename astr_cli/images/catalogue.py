"""Many photos at once: which names can be used, which cannot and why, and which name was probably meant."""

import difflib
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from astr_cli.images.errors import ImageError
from astr_cli.images.heif import HEIF, has_heif
from astr_cli.images.info import ImageInfo, read_info
from astr_cli.images.opening import RAW, USUAL
from astr_cli.wording import counted, listed

FUZZY_LIMIT = 5  # names that are compared with every name in the folder: slow, and users read only the first few


LISTED = 9  # names in one line


@dataclass(frozen=True)
class Catalogue:
    """The readable and the unusable photos; every name is in exactly one of the two."""

    infos: dict[str, ImageInfo]
    errors: dict[str, str]  # one line each, starting with the name

    def complaint(self, first: str | None = None) -> str:
        """The error of the photo `first` (by default of any), and the names of others that cannot be used."""
        bad = next(iter(self.errors)) if first is None else first
        others = [name for name in self.errors if name != bad]
        more = f"; {counted(len(others), 'more bad image')}: {listed(others, LISTED)}" if others else ""
        return self.errors[bad] + more


def catalogue(root: Path, names: Iterable[str]) -> Catalogue:
    """Read the headers of the photos `names` below `root`, each name once, in the order given.

    The message for a missing name suggests the nearest existing name. Raises ImageError when `root` itself
    is not a folder.
    """
    _need_folder(root)
    infos: dict[str, ImageInfo] = {}
    errors: dict[str, str] = {}
    missing: list[str] = []
    for name in dict.fromkeys(names):
        try:
            infos[name] = read_info(root, name)
        except ImageError as error:
            errors[name] = str(error)
            if not os.path.lexists(root / name):
                missing.append(name)
    if missing:
        nearest = _Nearest(_files(root))
        for name in missing:
            errors[name] = _missing_line(name, root, nearest(name))
    return Catalogue(infos, errors)


def find_images(root: Path) -> list[str]:
    """Names of all photos below `root`: usual extensions, hidden files and masks left out, sorted by code point.

    A mask is what COLMAP calls so: a.jpg.png where there is a photo a.jpg, in any folder.

    Raises ImageError: not a folder, no photo in it (saying so when there are only HEIC or RAW ones), a name that is
    not valid UTF-8.
    """
    _need_folder(root)
    files = _files(root)
    taken = USUAL | HEIF if has_heif() else USUAL
    names = _without_masks([name for name in files if PurePosixPath(name).suffix.lower() in taken])
    for name in names:
        if not _is_utf8(name):
            shown = name.encode("utf-8", "backslashreplace").decode()
            raise ImageError(f"{shown}: the file name is not valid UTF-8; rename it")
    if not names:
        other = next((n for n in files if PurePosixPath(n).suffix.lower() in HEIF | RAW), None)
        heif = (
            " (or, for HEIC, pip install 'astr-cli[heic]')"
            if other and PurePosixPath(other).suffix.lower() in HEIF
            else ""
        )
        hint = f"; convert {other} and similar files to JPEG first{heif}" if other else "; name the photo folder"
        raise ImageError(f"{root}: no photos in this folder{hint}")
    return sorted(names)


def _without_masks(names: list[str]) -> list[str]:
    photos = {PurePosixPath(name).name for name in names}
    return [name for name in names if not (name.lower().endswith(".png") and PurePosixPath(name).stem in photos)]


def _need_folder(root: Path) -> None:
    if not root.is_dir():
        raise ImageError(f"{root}: {'is not a folder' if root.exists() else 'no such folder'}; name the photo folder")


def _files(root: Path) -> list[str]:
    """POSIX names of all visible files below `root`; links to folders are followed, each folder once."""
    names: list[str] = []
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        base = Path(folder).relative_to(root)
        names.extend((base / name).as_posix() for name in sorted(files) if not name.startswith("."))
    return names


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _fold(name: str) -> str:
    """The name without the differences of a typing slip: letter case, slashes, composed or decomposed accents."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()


class _Nearest:
    """The existing name that was probably meant: from a table where possible, by comparison for the first few."""

    def __init__(self, names: list[str]) -> None:
        self._names = [name for name in names if _is_utf8(name)]
        self._exact: dict[str, str] = {}
        self._base: dict[str, str] = {}
        self._stem: dict[str, str] = {}
        for name in reversed(self._names):  # the first of equals wins
            folded = PurePosixPath(_fold(name))
            self._exact[str(folded)] = name
            self._base[folded.name] = name
            self._stem[str(folded.with_suffix(""))] = name
        self._left = FUZZY_LIMIT

    def __call__(self, name: str) -> str | None:
        folded = PurePosixPath(_fold(name))
        found = self._exact.get(str(folded)) or self._base.get(folded.name)
        if found is None and folded.name:
            found = self._stem.get(str(folded.with_suffix("")))
        if found is None and self._left > 0:
            self._left -= 1
            close = difflib.get_close_matches(name, self._names, n=1, cutoff=0.6)
            found = close[0] if close else None
        return found


def _missing_line(name: str, root: Path, nearest: str | None) -> str:
    hint = f"; did you mean {nearest}?" if nearest is not None else "; is --images the right folder?"
    return f"{name}: no such image in {root}{hint}"
