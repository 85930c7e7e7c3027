"""What is wrong with matches and databases, of astr or of others."""

from .report import Finding, Report
from .run import Inspector, check_paths

__all__ = ["Finding", "Inspector", "Report", "check_paths"]
