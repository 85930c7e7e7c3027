"""Where an import finds its matches and photos without --matches and --images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.files import real_path
from astr_cli.images.catalogue import catalogue
from astr_cli.images.info import ImageInfo
from astr_cli.sfm.tracks.match_rows import MatchedImage


def find_matches(database: Path) -> Path:
    """matches.h5 beside the database, else in the current folder. Raises AstrError."""
    beside = database.parent / "matches.h5"
    here = Path("matches.h5")
    for path in (beside, here):
        if path.is_file():
            return path
    where = f"neither {beside} nor {here} exists" if beside != here else "there is no matches.h5 beside it"
    raise AstrError(f"{database}: {where}; name the matches file with --matches")


def find_root(matches: Path, stored: str, first: str) -> Path:
    """The image root: the stored one as seen from the matches file, else from the current folder. Raises AstrError."""
    candidates = dict.fromkeys([(real_path(matches).parent.resolve() / stored).resolve(), Path(stored).resolve()])
    found = next((root for root in candidates if (root / first).is_file()), None)
    if found is None:
        tried = " or ".join(map(str, candidates))
        raise AstrError(f"{matches}: {first} is not in {tried}; name the folder of the photos with --images")
    here = Path.cwd()
    return found.relative_to(here) if found.is_relative_to(here) else found


def check_photos(root: Path, images: Sequence[MatchedImage], matches: Path) -> dict[str, ImageInfo]:
    """Reads the headers of the photos. Raises AstrError unless each exists, with the raw size it had when matched."""
    found = catalogue(root, (matched.name for matched in images))
    if found.errors:
        raise AstrError(f"{matches}: {found.complaint()}")
    for matched in images:
        size = found.infos[matched.name].size
        if size != matched.size:
            raise AstrError(
                f"{root / matched.name}: is {size[0]}x{size[1]}, but was matched as "
                f"{matched.size[0]}x{matched.size[1]}; match it again"
            )
    return found.infos


def content_hash(path: Path, skip: int = 0) -> str:
    """SHA-256 of a file, without its first `skip` bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(skip)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def contents_hash(paths: Sequence[Path]) -> str:
    """SHA-256 of a file, or of the sorted hashes of several."""
    hashes = sorted(map(content_hash, paths))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def folder_hash(folder: Path) -> str:
    """SHA-256 of the names and contents of all files of a folder, sorted by name."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return hashlib.sha256("\n".join(f"{path.name} {content_hash(path)}" for path in files).encode()).hexdigest()


def find_matched_masks(matches: Path, attributes: Mapping[str, str]) -> tuple[Path | None, str | None]:
    """The folder of masks that the photos were matched with, and a warning if it is missing now."""
    stored = attributes.get("masks", "none")
    if stored == "none":
        return None, None
    found = next((folder for folder in (matches.parent / stored, Path(stored)) if folder.is_dir()), None)
    return found, None if found else f"{stored}: the folder of the masks is missing; refinement uses whole photos"
