"""What long runs say: of videos and many pairs beforehand, then of every stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.sfm_output import progress_line
from astr_cli.matching.resources import progress
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.options.pairs import PairChoice
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.mapper import map_database
from astr_cli.sfm.pairs.automatic import Source, choose_pairs
from astr_cli.sfm.pairs.video import looks_like_video

FRAMES = [f"frame_{number:04d}.jpg" for number in range(50)]


@pytest.mark.parametrize(
    ("names", "video"),
    [
        (FRAMES, True),
        ([f"{number:05d}.png" for number in range(0, 250, 5)], True),
        ([f"cam{camera}/f{number}/frame{number}.png" for camera in (0, 1) for number in range(30)], False),
        ([f"cam{camera}/my video {number}.png" for camera in (0, 1) for number in range(30)], True),
        ([f"DSC_{number:04d}.jpg" for number in range(50)], False),  # a camera's
        ([f"subframe{number}.jpg" for number in range(50)], False),
        (FRAMES[:12], False),
        ([*FRAMES, "map.jpg"], False),
        ([f"{number**2}.png" for number in range(50)], False),
        ([], False),
    ],
)
def test_names_of_videos(names: list[str], video: bool) -> None:
    assert looks_like_video(names) == video


def test_fifty_frames_are_1225_pairs(tmp_path: Path) -> None:
    said: list[str] = []
    chosen = choose_pairs(Source(tmp_path, FRAMES, "astr-small", "cpu"), PairChoice(), said.append)
    assert len(chosen.pairs) == 1225
    (line,) = said
    fewer = len(choose_pairs(Source(tmp_path, FRAMES, "astr-small", "cpu"), PairChoice("sequential")).pairs)
    assert line == (
        "50 photos make 1,225 pairs; their names look like frames of a video, for which --pairs sequential matches "
        f"{fewer:,} pairs only"
    )


@pytest.mark.parametrize("mapper", ["incremental", "global"])
def test_mapping_tells_how_far_it_is(mapper: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.0)
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    said: list[str] = []
    model = map_database(workplace / "db.db", workplace / "photos", workplace, MapOptions(mapper), said.append)
    assert len(model.registered) == 6
    if mapper == "global":
        assert all(line.startswith("global mapping: ") and line.endswith(" s so far") for line in said) and said
        return
    counts = [int(line.split()[1]) for line in said if line.startswith("mapping: ")]
    assert counts == sorted(counts) and counts[-1] <= 6
    assert all(" of 6 photos, " in line for line in said)


def test_lines_are_for_people_or_programs(capfd: Any) -> None:
    progress_line(True, True)("mapping")
    progress_line(False, True)("nothing")
    progress_line(False, False)("verifying")
    said = capfd.readouterr()
    assert json.loads(said.out) == {"event": "progress", "text": "mapping"}
    hour, minute, rest = said.err.split(":", 2)
    assert len(hour) == len(minute) == 2 and rest[3:] == "verifying\n"
