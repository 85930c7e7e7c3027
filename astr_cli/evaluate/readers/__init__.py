"""From files on disk to benchmarks: one reader a layout."""

from astr_cli.evaluate.readers.find import find_benchmarks
from astr_cli.evaluate.readers.gt_json import read_pose_folder

__all__ = ["find_benchmarks", "read_pose_folder"]
