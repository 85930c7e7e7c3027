"""Text from files that is JSON, but nested deeper than Python can go."""

from pathlib import Path

from astr_cli.sfm.reconstruct import read_model_record
from astr_cli.sfm.tracks.statistics import TrackStatistics

DEEP = "[" * 100_000 + "]" * 100_000


def test_deep_json_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(DEEP)
    assert read_model_record(tmp_path / "summary.json", "key", tmp_path) is None
    assert TrackStatistics.parse(DEEP) is None
