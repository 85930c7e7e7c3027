"""Structure from motion: tracks, the COLMAP database, verification, mapping. The only part that knows pycolmap.

`astr_cli.sfm.reconstruct` stands apart, as it needs torch too.
"""

from astr_cli.sfm.align import Similarity, align, centre_error
from astr_cli.sfm.cameras import CameraOptions
from astr_cli.sfm.importing import ImportOptions, ImportSummary, import_matches
from astr_cli.sfm.mapping import MapOptions, MappingError, ModelSummary, camera_centres, map_database
from astr_cli.sfm.rows import Frame, MatchRows, read_rows
from astr_cli.sfm.tracks import Tracks, build_tracks

__all__ = [
    "CameraOptions",
    "Frame",
    "ImportOptions",
    "ImportSummary",
    "MapOptions",
    "MappingError",
    "MatchRows",
    "ModelSummary",
    "Similarity",
    "Tracks",
    "align",
    "build_tracks",
    "camera_centres",
    "centre_error",
    "import_matches",
    "map_database",
    "read_rows",
]
