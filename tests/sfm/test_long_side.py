"""The long side that a matches file claims."""

from __future__ import annotations

import pytest

from astr_cli.sfm.tracks.match_rows import matched_before
from astr_cli.store.matches_file import stored_long_side


@pytest.mark.parametrize("text", ["9" * 400, "9" * 5000, "0", "-5", "1e3", "", "\u0663" * 400])
def test_no_photo_has_such_a_side(text: str) -> None:
    assert stored_long_side({"long_side": text}) is None
    assert matched_before({"long_side": text}, (640, 480)) is None


def test_a_long_side_is_read() -> None:
    assert stored_long_side({"long_side": "320"}) == 320
