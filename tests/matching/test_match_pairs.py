"""A whole run in one process: what is written, what is reused, and that nothing but the options decides the bytes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from astr_cli.errors import AstrError
from astr_cli.matching.resources.cores import CoreSplit, fitting
from astr_cli.matching.run.events import Event, Notice, PairDone, Started, Writing
from astr_cli.matching.run.match import match_pairs
from astr_cli.store.errors import JournalMismatch, StoreError
from astr_cli.store.index import GROUP
from astr_cli.store.matches_file import MatchesFile


def test_output_holds_every_pair_in_original_pixels(scene, recorder) -> None:
    heard = recorder()
    summary = match_pairs(scene.options(), heard)
    assert (summary.pairs, summary.matched, summary.reused, summary.failed) == (15, 15, 0, ())
    with MatchesFile(scene.root / "m.h5") as file:
        stored = {(pair.name0, pair.name1): pair for pair in file.pairs()}
        assert set(stored) == set(scene.pairs)
        rows = 0
        for name0, name1 in scene.pairs:
            found = file.read(name0, name1)
            rows += len(found)
            assert stored[name0, name1].size0 == (160, 128)
            for points, reference in ((found.keypoints0, 0), (found.keypoints1, 1)):
                assert points.min() >= -0.5
                assert (points <= np.array([159.5, 127.5])).all()
                # A reference point is the centre of a cell of 8 matched pixels: 96 x 64 of them stand for 160 x 128.
                cells = ((points[found.reference == reference] + 0.5) * [96 / 160, 64 / 128] - 4) / 8
                np.testing.assert_allclose(cells, np.rint(cells), atol=1e-4)
            half = len(found) // 2
            assert (found.reference == np.repeat([0, 1], half)).all()
            assert (np.diff(found.scores[:half]) <= 0).all()
    assert rows == summary.matches >= 200
    done = heard.of(PairDone)
    assert [event.finished for event in done] == list(range(1, 16))
    assert sum(event.matches for event in done) == rows
    assert [type(event) for event in heard.events[:1] + heard.events[-1:]] == [Started, Writing]
    assert not scene.journal().exists()


def test_attributes_say_what_decides_the_result_and_nothing_else(scene) -> None:
    match_pairs(scene.options(images=scene.root))
    with MatchesFile(scene.root / "m.h5") as file:
        attributes = dict(file.attributes)
    assert len(attributes.pop("weights_sha256")) == 64
    assert attributes == {
        "format": "astr-matches-3",
        "images": ".",
        "model": "random",
        "long_side": "96",
        "threshold": "0.0",
        "max_matches": "all",
        "one_way": "false",
        "scaling": "auto",
        "adaptive": "false",
        "focus": "auto",
        "cameras": "exif",
        "precision": "fp32",
        "rotate": "exif",
        "masks": "none",
        "tiles": "false",
        "refine_matches": "false",
    }
    assert str(scene.root).encode() not in scene.bytes()


def test_backbone_once_for_each_image_that_fits(scene) -> None:
    summary = match_pairs(scene.options())
    assert (summary.images, summary.fewest_misses, summary.cache_misses, summary.cache_hits) == (6, 6, 6, 24)


@pytest.mark.parametrize(
    "change", [{"memory": 0}, {"memory": 1_000_000}, {"workers": 1}, {"workers": 5}, {"jobs": 1}, {"jobs": 5}]
)
def test_memory_workers_and_jobs_change_no_byte(scene, change: dict[str, Any]) -> None:
    match_pairs(scene.options())
    summary = match_pairs(scene.options("other.h5", **change))
    assert scene.bytes() == scene.bytes("other.h5")
    if "memory" in change:
        assert summary.cache_misses > 6


def test_batches_agree_within_a_thousandth_of_a_pixel(scene) -> None:
    match_pairs(scene.options())
    match_pairs(scene.options("batched.h5", batch=4))
    with MatchesFile(scene.root / "m.h5") as single, MatchesFile(scene.root / "batched.h5") as batched:
        for names in scene.pairs:
            one, other = single.read(*names), batched.read(*names)
            assert len(one) == len(other) > 0
            np.testing.assert_allclose(_sorted_rows(one), _sorted_rows(other), atol=1e-3)


def _sorted_rows(found) -> np.ndarray:
    """Rows in an order that near-equal scores cannot change."""
    rows = np.column_stack([found.reference, found.keypoints0, found.keypoints1])
    fixed = np.where(found.reference[:, None] == 0, found.keypoints0, found.keypoints1)
    return rows[np.lexsort((fixed[:, 0], fixed[:, 1], found.reference))]


def test_photos_of_different_shapes_share_a_run(scene, texture: np.ndarray) -> None:
    Image.fromarray(texture[:160, :128]).save(scene.root / "tall.png")
    pairs = [*scene.pairs, ("tall.png", scene.names[0]), (scene.names[1], "tall.png")]
    scene.write_pairs(pairs)
    assert match_pairs(scene.options(batch=4)).pairs == 17
    with MatchesFile(scene.root / "m.h5") as file:
        assert len(file.read("tall.png", scene.names[0])) > 0


def test_same_command_again_reuses_all_and_touches_nothing(scene) -> None:
    match_pairs(scene.options())
    before = scene.bytes(), (scene.root / "m.h5").stat().st_mtime_ns
    summary = match_pairs(scene.options())
    assert (summary.pairs, summary.matched, summary.reused) == (15, 0, 15)
    assert before == (scene.bytes(), (scene.root / "m.h5").stat().st_mtime_ns)


def test_longer_pairs_file_reuses_and_equals_a_run_of_its_own(scene) -> None:
    scene.write_pairs(scene.pairs[4:])
    match_pairs(scene.options())
    scene.write_pairs(scene.pairs)
    summary = match_pairs(scene.options())
    assert (summary.matched, summary.reused) == (4, 11)
    match_pairs(scene.options("alone.h5"))
    assert scene.bytes() == scene.bytes("alone.h5")


@pytest.mark.parametrize(("first", "indexed"), [(15, True), (15, False), (11, True), (11, False)])
def test_the_pairs_of_an_earlier_output_are_listed_once(
    scene, monkeypatch: pytest.MonkeyPatch, first: int, indexed: bool
) -> None:
    """By the index, or by the groups of an older file that has none."""
    scene.write_pairs(scene.pairs[:first])
    match_pairs(scene.options())
    scene.write_pairs(scene.pairs)
    if not indexed:
        with h5py.File(scene.options().out, "a") as file:
            del file[GROUP]
    real = MatchesFile._pair
    read = []
    monkeypatch.setattr(MatchesFile, "_pair", lambda self, *key: read.append(key) or real(self, *key))
    assert match_pairs(scene.options()).reused == first
    assert len(read) == (0 if indexed else first)


def test_shorter_pairs_file_is_refused_rather_than_losing_matches(scene) -> None:
    match_pairs(scene.options())
    before = scene.bytes()
    scene.write_pairs(scene.pairs[:-1])
    with pytest.raises(StoreError, match=r"1 pair no longer.*photo04.png photo05.png.*--prune.*--overwrite"):
        match_pairs(scene.options())
    assert scene.bytes() == before
    told: list[Event] = []
    summary = match_pairs(scene.options(prune=True), told.append)
    assert (summary.pairs, summary.matched) == (14, 0)
    assert Notice(f"{scene.root / 'm.h5'}: pairs that the pairs file no longer lists: 1 dropped") in told
    match_pairs(scene.options("alone.h5"))
    assert scene.bytes() == scene.bytes("alone.h5")
    scene.write_pairs(scene.pairs[:-2])
    assert match_pairs(scene.options(overwrite=True)).pairs == 13


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"long_side": 128}, "long_side: 96 -> 128"),
        ({"threshold": 0.1}, "threshold: 0.0 -> 0.1"),
        ({"max_matches": 10}, "max_matches: all -> 10"),
        ({"one_way": True}, "one_way: false -> true"),
        ({"scaling": "off"}, "scaling: auto -> off"),
        ({"cameras": "none"}, "cameras: exif -> none"),
    ],
)
def test_other_options_are_refused_with_the_difference(scene, change: dict[str, Any], shown: str) -> None:
    match_pairs(scene.options())
    before = scene.bytes()
    with pytest.raises(JournalMismatch, match=shown):
        match_pairs(scene.options(**change))
    assert scene.bytes() == before


def test_overwrite_starts_anew(scene) -> None:
    match_pairs(scene.options())
    summary = match_pairs(scene.options(overwrite=True, max_matches=5))
    assert (summary.matched, summary.reused) == (15, 0)
    with MatchesFile(scene.root / "m.h5") as file:
        assert len(file.read(*scene.pairs[0])) == 10


def test_one_way_halves_the_rows(scene) -> None:
    match_pairs(scene.options())
    match_pairs(scene.options("one.h5", one_way=True))
    with MatchesFile(scene.root / "m.h5") as both, MatchesFile(scene.root / "one.h5") as one:
        full, half = both.read(*scene.pairs[0]), one.read(*scene.pairs[0])
    assert len(full) == 2 * len(half) > 0
    np.testing.assert_array_equal(full.keypoints1[: len(half)], half.keypoints1)


def test_changed_photo_is_matched_again(scene, texture: np.ndarray) -> None:
    match_pairs(scene.options())
    Image.fromarray(texture[-128:, -160:]).save(scene.root / scene.names[2])
    summary = match_pairs(scene.options())
    assert (summary.matched, summary.reused) == (5, 10)
    match_pairs(scene.options("alone.h5"))
    assert scene.bytes() == scene.bytes("alone.h5")


def test_duplicates_are_told(scene, recorder) -> None:
    scene.write_pairs([*scene.pairs, (scene.names[1], scene.names[0])])
    heard = recorder()
    assert match_pairs(scene.options(), heard).pairs == 15
    assert [event.text for event in heard.of(Notice)] == [
        f"{scene.root}/pairs.txt:16: photo01.png photo00.png is a repeated pair; ignored"
    ]


def test_known_focals_come_from_exif_or_cameras(scene, recorder) -> None:
    for name in scene.names:
        image = Image.open(scene.root / name)
        exif = Image.Exif()
        exif[ExifTags.IFD.Exif] = {ExifTags.Base.FocalLengthIn35mmFilm: 35}
        image.save(scene.root / name, exif=exif)
    (scene.root / "cameras.txt").write_text("1 PINHOLE 160 128 150 150 80 64\n")
    known = []
    for index, cameras in enumerate(("exif", "none", str(scene.root / "cameras.txt"))):
        heard = recorder()
        match_pairs(scene.options(f"{index}.h5", cameras=cameras), heard)
        known.append(heard.of(Started)[0].known_focals)
    assert known == [6, 0, 6]
    with MatchesFile(scene.root / "2.h5") as file:
        assert file.attributes["cameras"].startswith("colmap ")
    # Photos whose only pairs are left out do not count.
    scene.write_pairs([scene.pairs[0], (scene.names[3], "gone.png"), (scene.names[4], "gone.png")])
    heard = recorder()
    match_pairs(scene.options("bad.h5", skip_bad=True), heard)
    assert [(event.images, event.known_focals) for event in heard.of(Started)] == [(2, 2)]


def test_disk_that_is_obviously_too_small_is_refused_before_the_start(scene, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(AstrError, match=r"needs about .* MB"):
        match_pairs(scene.options())
    assert sorted(path.name for path in scene.root.iterdir()) == sorted([*scene.names, "pairs.txt"])


def test_a_result_that_is_not_finite_fails_its_pair_only(scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from astr_cli.matching.run import model_runner as runner

    real = runner._to_original

    def poisoned(raw, pair):
        found = real(raw, pair)
        calls.append(pair)
        return replace(found, keypoints1=found.keypoints1 * np.float32("nan")) if len(calls) == 3 else found

    calls: list[object] = []
    monkeypatch.setattr(runner, "_to_original", poisoned)
    summary = match_pairs(scene.options())
    assert summary.pairs == 14
    assert [pair.reason for pair in summary.failed] == ["the model gave a point of image1 that is not finite"]


def test_torch_settings_are_left_alone(scene) -> None:
    before = torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.is_inference_mode_enabled()
    match_pairs(scene.options())
    assert before == (torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.is_inference_mode_enabled())


def test_a_relative_root_is_stored_as_seen_from_the_output(scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scene.root.parent)
    root = Path(scene.root.name)
    match_pairs(replace(scene.options(), pairs=root / "pairs.txt", out=root / "m.h5"))
    with MatchesFile(scene.root / "m.h5") as file:
        assert file.attributes["images"] == "."


def test_large_photos_leave_room_for_fewer_jobs() -> None:
    split = CoreSplit(4, 2)
    assert fitting(split, 640 * 480, 32) == split
    assert fitting(split, 2048 * 2048, 128) == CoreSplit(1, 2)
    assert fitting(split, 10**9, 128) == CoreSplit(1, 2)
