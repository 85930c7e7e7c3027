"""What astr keeps on disk: the journal of a run, matches.h5, and a small reader of COLMAP cameras. No torch."""

from .cameras import Camera, CameraBook, CamerasError, read_cameras
from .errors import JournalMismatch, StoreError
from .journal import Journal
from .matches_file import MatchesFile
from .output import Output, read_output
from .run_info import ImageStamp, RunInfo
from .types import MatchEntry, PairMatches, StoredPair
from .writer import write_matches

__all__ = [
    "Camera",
    "CameraBook",
    "CamerasError",
    "ImageStamp",
    "Journal",
    "JournalMismatch",
    "MatchEntry",
    "MatchesFile",
    "Output",
    "PairMatches",
    "RunInfo",
    "StoreError",
    "StoredPair",
    "read_cameras",
    "read_output",
    "write_matches",
]
