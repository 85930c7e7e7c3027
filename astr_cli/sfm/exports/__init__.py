"""matches.h5 in the forms that other pipelines read."""

from .run import FORMATS, ExportOptions, ExportSummary, export_matches
from .tracked import Tracked, read_tracked

__all__ = ["FORMATS", "ExportOptions", "ExportSummary", "Tracked", "export_matches", "read_tracked"]
