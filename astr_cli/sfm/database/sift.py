"""A database of COLMAP's own SIFT, to compare with: same photos, same pairs, same cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.images.info import ImageInfo
from astr_cli.options.database import CameraOptions
from astr_cli.sfm import colmap
from astr_cli.sfm.database.atomic import new_database
from astr_cli.sfm.database.cameras import import_images

SEED = 0


def sift_database(
    database: Path,
    photos: Path,
    infos: Mapping[str, ImageInfo],
    pairs: Sequence[tuple[str, str]],
    cameras: CameraOptions,
    side: int,
) -> None:
    """Extracts, matches and verifies by COLMAP's defaults, into a new database.

    side: the largest width or height at extraction, in pixels. Raises AstrError for names with spaces,
    which COLMAP's list of pairs cannot contain.
    """
    odd = next((name for name in infos if len(name.split()) != 1), None)
    if odd is not None:
        raise AstrError(f"{photos / odd}: COLMAP's list of pairs cannot contain a name with spaces; rename the photo")
    listed = database.with_name(f".{database.name}.pairs.txt")
    try:
        listed.write_text("".join(f"{name0} {name1}\n" for name0, name1 in pairs), encoding="utf-8")
        with new_database(database) as part:
            import_images(part, infos, cameras)
            colmap.match_sift(part, photos, list(infos), listed, side, SEED)
    finally:
        listed.unlink(missing_ok=True)
