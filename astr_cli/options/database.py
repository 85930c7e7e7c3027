"""How matches become a COLMAP database: cameras, tracks, and what happens to an existing database."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from astr_cli.options.matching import is_cameras_path
from astr_cli.options.option import check, group, option

CameraMode = Literal["auto", "single", "per-folder", "per-image"]
ImportMode = Literal["create", "append", "replace", "fail"]

CAMERAS, TRACKS, DATABASE = "Cameras", "Tracks", "Database"


@dataclass(frozen=True)
class CameraOptions:
    """Where cameras come from. Parameters are in COLMAP's convention, the first pixel's centre at (0.5, 0.5)."""

    mode: CameraMode = option(
        "auto",
        name="camera-mode",
        help="Which photos share a camera. auto: photos of one camera by their EXIF data, or of one size and focal "
        "length; a photo without a focal length gets its own. Or single, per-folder, per-image.",
        stored=True,
        panel=CAMERAS,
    )
    model: str = option(
        "SIMPLE_RADIAL",
        name="camera-model",
        help="COLMAP's name of the camera model, such as OPENCV_FISHEYE.",
        stored=True,
        panel=CAMERAS,
        parse=str.upper,
    )
    params: str | None = option(
        None,
        name="camera-params",
        help="Parameters of that model, separated by commas.",
        stored=True,
        panel=CAMERAS,
        default_text="focal length from EXIF, else 1.2 times the long side",
    )
    cameras: str = option(
        "exif",
        help="exif, or known cameras: a COLMAP model folder, database or cameras.txt. Photos that it does not cover "
        "get a camera by --camera-mode.",
        stored=True,
        panel=CAMERAS,
        is_path=is_cameras_path,
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def known(self) -> Path | None:
        """The known cameras, if there are any."""
        return Path(self.cameras) if is_cameras_path(self.cameras) else None


@dataclass(frozen=True)
class JoinOptions:
    """How matches are joined to tracks."""

    min_score: float = option(0.0, help="Leave out matches with a score below this.", stored=True, panel=TRACKS)
    merge_radius: float = option(
        # Larger radii join more (median track on simulated scenes: the same up to 2) but blur the points.
        1.0,
        help="Join matches this close in a photo to one track, in pixels of the matched size. 0 joins only matches of "
        "one cell.",
        stored=True,
        panel=TRACKS,
        least=0,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TrackOptions(JoinOptions):
    """How tracks are made for a database."""

    max_keypoints: int | None = option(
        None,
        help="Keep this many keypoints per photo, spread over it.",
        stored=True,
        panel=TRACKS,
        least=1,
        default_text="all",
    )
    min_track: int = option(2, help="Leave out tracks over fewer photos.", stored=True, panel=TRACKS, least=2)


@dataclass(frozen=True)
class ImportOptions:
    """The options of `astr colmap-import`."""

    database: Path = option(name="db", help="COLMAP database to create or add to.", stored=False, argument=True)
    matches: Path | None = option(
        None,
        help="File written by astr match.",
        stored=False,
        panel=DATABASE,
        default_text="matches.h5 beside DB, else in the current folder",
    )
    images: Path | None = option(
        None, help="Folder of the photos.", stored=False, panel=DATABASE, default_text="where they were matched"
    )
    mode: ImportMode | None = option(
        None,
        help="create: a new database; append: add astr's keypoints and matches after the existing ones; replace: "
        "put astr's matches in the place of the existing ones; fail: refuse a database that holds anything.",
        stored=False,
        panel=DATABASE,
        default_text="create; append if DB has all of the images",
    )
    replace_import: bool = option(
        False,
        help="Import a file that lacks pairs of an earlier astr import; those pairs go. The matches of other programs "
        "stay.",
        stored=False,
        panel=DATABASE,
    )
    dry_run: bool = option(False, help="Only print what would change.", stored=False, panel=DATABASE)
    backup: bool = option(
        True, help="Keep the earlier DB as DB.backup when it changes.", stored=False, panel=DATABASE, switch=True
    )
    verify: bool = option(
        True,
        help="Verify pairs geometrically; without it, the database cannot be mapped yet.",
        stored=False,
        panel=DATABASE,
        switch=True,
    )
    poses: Path | None = option(
        None,
        help="COLMAP model folder with known poses: verify pairs against them and write a model ready for "
        "triangulation.",
        stored=False,
        panel=DATABASE,
    )
    cameras: CameraOptions = group(CameraOptions)
    tracks: TrackOptions = group(TrackOptions)
    replace_ours: bool = option(
        False,
        help="Replace a database that astr wrote, without a backup; refuse any other that holds something.",
        stored=False,
        hidden=True,
    )
