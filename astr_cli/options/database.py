"""How matches become a COLMAP database: cameras, tracks, and the treatment of an existing database."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from astr_cli.options.matching import is_cameras_path
from astr_cli.options.option import Options, group, option
from astr_cli.options.refinement import TrackRefineOptions

CameraMode = Literal["auto", "single", "per-folder", "per-image"]
ImportMode = Literal["create", "append", "replace", "fail"]

AUTO = "AUTO"
WIDE = 0.35  # a focal length below this share of the width sees more than 110 degrees

CAMERAS, TRACKS, DATABASE = "Cameras", "Tracks", "Database"


@dataclass(eq=False, repr=False)
class CameraOptions(Options):
    """The source of cameras. Parameters follow COLMAP: the centre of the top-left pixel is at (0.5, 0.5)."""

    mode: CameraMode = option(
        "auto",
        name="camera-mode",
        help="Photos that share a camera. auto: those taken with one camera by their EXIF data, or with equal size and "
        "focal length; a photo without a focal length gets its own camera. single: all photos; per-folder: those of a "
        "folder; per-image: none.",
        stored=True,
        panel=CAMERAS,
    )
    model: str = option(
        "SIMPLE_RADIAL",
        name="camera-model",
        help="Camera model by COLMAP's name, such as OPENCV_FISHEYE. auto: map with SIMPLE_RADIAL, and adjust the "
        "finished model with a richer one if that predicts observations better that took no part; a known focal "
        "length below 0.35 of the width begins with OPENCV_FISHEYE.",
        stored=True,
        panel=CAMERAS,
        parse=str.upper,
    )
    params: str | None = option(
        None,
        name="camera-params",
        help="Parameters of the camera model, separated by commas.",
        stored=True,
        panel=CAMERAS,
        default_text="focal length from EXIF, else 1.2 times the long side",
    )
    cameras: str = option(
        "exif",
        help="Source of cameras: exif, or a COLMAP model folder, database or cameras.txt with known cameras. Photos "
        "without a known camera get one by --camera-mode.",
        stored=True,
        panel=CAMERAS,
        is_path=is_cameras_path,
    )
    rig_config: Path | None = option(
        None,
        help="COLMAP's rig_config.json: cameras that are fixed to each other. Mapping keeps their relative poses equal "
        "in all frames. Photos get a camera per folder, unless --camera-mode says otherwise.",
        stored=True,
        panel=CAMERAS,
        default_text="no rigs",
    )
    rig_model: Path | None = option(
        None,
        help="COLMAP model of the same photos, mapped without rigs. It gives the relative poses of cameras that "
        "--rig-config lacks.",
        stored=True,
        panel=CAMERAS,
        default_text="none",
    )

    @property
    def sharing(self) -> CameraMode:
        """Which photos share a camera."""
        return "per-folder" if self.rig_config is not None and self.mode == "auto" else self.mode

    @property
    def chooses(self) -> bool:
        """Whether the photos decide on the camera model."""
        return self.model == AUTO

    def first_model(self, focal: float | None, width: int) -> str:
        """The model that a camera begins with; focal: in pixels, None: unknown."""
        if not self.chooses:
            return self.model
        return "OPENCV_FISHEYE" if focal is not None and focal < WIDE * width else "SIMPLE_RADIAL"

    @property
    def known(self) -> Path | None:
        """The path of the known cameras, or None."""
        return Path(self.cameras) if is_cameras_path(self.cameras) else None


@dataclass(eq=False, repr=False)
class JoinOptions(Options):
    """How matches are joined to tracks."""

    min_score: float = option(
        0.0, help="Leave out matches with a score below this (0 to 1).", stored=True, panel=TRACKS
    )
    max_sigma: float | None = option(
        None,
        help="Leave out matches that astr match --refine-matches could not refine to this standard deviation.",
        stored=True,
        panel=TRACKS,
        least=0,
        unit="pixels",
        default_text="all",
    )
    merge_radius: float = option(
        # Larger radii join more matches (median track on simulated scenes: the same up to 2) but blur the points.
        1.0,
        help="Join matches to one track if they are this close in a photo, in pixels of the matched size. 0 joins only "
        "matches of the same cell.",
        stored=True,
        panel=TRACKS,
        least=0,
    )

    @property
    def bounds(self) -> str:
        """What a match needs to be used, for messages."""
        sigma = "" if self.max_sigma is None else f" and a sigma of {self.max_sigma:g} or less"
        return f"a score of {self.min_score:g} or more{sigma}"

    @property
    def remedy(self) -> str:
        """How to use more matches, for messages."""
        return "lower --min-score" + ("" if self.max_sigma is None else ", raise --max-sigma")


@dataclass(eq=False, repr=False)
class TrackOptions(JoinOptions):
    """How tracks are made for a database."""

    max_keypoints: int | None = option(
        None,
        help="Keep at most this many keypoints per photo, spread evenly over the photo.",
        stored=True,
        panel=TRACKS,
        least=1,
        default_text="all",
    )
    min_track: int = option(
        2, help="Leave out tracks that span fewer photos than this.", stored=True, panel=TRACKS, least=2
    )


@dataclass(eq=False, repr=False)
class ImportOptions(Options):
    """The options of `astr colmap-import`."""

    database: Path = option(name="db", help="COLMAP database to create or add to.", stored=False, argument=True)
    matches: tuple[Path, ...] = option(
        (),
        help="File written by astr match. May be repeated, for the files of several shards.",
        stored=False,
        panel=DATABASE,
        default_text="matches.h5 beside DB, else in the current folder",
    )
    images: Path | None = option(
        None, help="Folder of the photos.", stored=False, panel=DATABASE, default_text="where they were matched"
    )
    mode: ImportMode | None = option(
        None,
        help="Treatment of an existing database. create: replace it with a new one; append: add astr's keypoints and "
        "matches after the existing ones; replace: as append, but remove the existing matches; fail: refuse a database "
        "that contains anything.",
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
    dry_run: bool = option(
        False, help="Only print the changes that an import would make.", stored=False, panel=DATABASE
    )
    backup: bool = option(
        True, help="Keep the earlier DB as DB.backup when it changes.", stored=False, panel=DATABASE, switch=True
    )
    verify: bool = option(
        True,
        help="Verify the pairs geometrically. COLMAP cannot map the database before that.",
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
    refinement: TrackRefineOptions = group(TrackRefineOptions)
    replace_ours: bool = option(
        False,
        help="Replace a database that astr wrote, without a backup; refuse any other database that contains anything.",
        stored=False,
        hidden=True,
    )
