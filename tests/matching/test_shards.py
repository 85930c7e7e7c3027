"""Shards of a run, merged: the bytes of the whole run, also of a stopped shard; what does not belong is refused."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.matching.run.events import PairDone
from astr_cli.matching.run.match import match_pairs
from astr_cli.matching.run.plan import PairBatch, make_plan
from astr_cli.matching.run.shards import shard_of
from astr_cli.options.matching import parse_shard
from astr_cli.options.option import OptionError
from astr_cli.pairs.reading import Pair
from astr_cli.store.errors import JournalMismatch, StoreError
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.merging import merge_files
from astr_cli.store.types import MatchEntry
from astr_cli.store.writer import write_matches


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 20))
def test_every_batch_is_in_one_shard(sizes: list[int], count: int) -> None:
    plan = [PairBatch((Pair(f"{n}", "b", 1),) * size) for n, size in enumerate(sizes)]
    shards = [shard_of(plan, number, count) for number in range(1, count + 1)]
    assert [batch for shard in shards for batch in shard] == plan
    pairs = [sum(len(batch.pairs) for batch in shard) for shard in shards]
    assert max(pairs) - sum(sizes) / count <= max(sizes)


@settings(max_examples=10)
@given(st.integers(2, 8))
def test_shards_share_few_photos(count: int) -> None:
    """All pairs of 64 photos: a shard of a random order would see all photos."""
    names = [f"{number:02d}" for number in range(64)]
    pairs = [Pair(a, b, 1) for a in names for b in names if a < b]
    plan = make_plan(pairs, dict.fromkeys(names, (640, 480)), 1)
    seen = [len({name for batch in shard_of(plan, n, count) for name in batch.names()}) for n in range(1, count + 1)]
    # Squares of the table of pairs: a share of 1/n has 64 / sqrt(n) photos per side.
    assert sum(seen) <= 64 * 2 * count**0.5 + 32


@pytest.mark.parametrize("text", ["", "0/3", "4/3", "1", "a/b", "1/3/5", "-1/3"])
def test_shards_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match="give a number and a count"):
        parse_shard(text)


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """What was matched once, as the scene is the same in every test."""
    return {}


@pytest.fixture
def shards(scene, made: dict[str, bytes]) -> tuple[Path, ...]:
    """Three shards in a folder of their own, in batches of 4, and whole.h5."""
    (scene.root / "shards").mkdir()
    if not made:
        match_pairs(scene.options("whole.h5", batch=4))
        for number in (1, 2, 3):
            match_pairs(scene.options(f"shards/{number}.h5", shard=f"{number}/3", batch=4))
        made |= {name: scene.bytes(name) for name in ("whole.h5", *(f"shards/{n}.h5" for n in (1, 2, 3)))}
    for name, content in made.items():
        (scene.root / name).write_bytes(content)
    return tuple(scene.root / "shards" / f"{number}.h5" for number in (1, 2, 3))


def test_merged_shards_are_the_whole_run(scene, shards: tuple[Path, ...], capsys: pytest.CaptureFixture[str]) -> None:
    listed = ["--pairs", str(scene.root / "pairs.txt")]
    assert run(["merge", str(scene.root / "m.h5"), *map(str, shards[::-1]), *listed]) == 0
    assert "15 pairs of 6 photos from 3 files" in capsys.readouterr().out
    assert scene.bytes() == scene.bytes("whole.h5")
    # The whole run takes it for its own.
    assert match_pairs(scene.options(batch=4)).reused == 15
    # A file that holds others, too: equal rows of a pair are no contradiction.
    summary = merge_files(scene.root / "again.h5", (scene.root / "m.h5", *shards))
    assert (summary.pairs, summary.repeated) == (15, 15)
    assert scene.bytes("again.h5") == scene.bytes("whole.h5")


def test_a_stopped_shard_is_refused_and_resumed(scene, shards: tuple[Path, ...], recorder) -> None:
    shards[1].unlink()

    def stop(event: object) -> None:
        if isinstance(event, PairDone):
            raise KeyError("killed")

    with pytest.raises(KeyError):
        match_pairs(scene.options("shards/2.h5", shard="2/3", batch=4), recorder(stop))
    with pytest.raises(StoreError, match=r"2\.h5: its run is not finished"):
        merge_files(scene.root / "m.h5", shards)
    match_pairs(scene.options("shards/2.h5", shard="2/3", batch=4))
    merge_files(scene.root / "m.h5", shards)
    assert scene.bytes() == scene.bytes("whole.h5")


def test_what_does_not_belong_is_refused(scene, shards: tuple[Path, ...]) -> None:
    out = scene.root / "m.h5"
    listed = tuple(scene.pairs)
    with pytest.raises(StoreError, match=r"lack [1-9] listed pairs .for example photo"):
        merge_files(out, shards[:2], listed)
    match_pairs(scene.options("few.h5", shard="3/3", batch=4, max_matches=3))
    with pytest.raises(JournalMismatch, match="max_matches: all and 3"):
        merge_files(out, (*shards, scene.root / "few.h5"))
    other = scene.root / "other.h5"
    _rewrite(shards[0], other, _shortened)
    with pytest.raises(StoreError, match=r"has .* rows in one and .* in the other; leave it out"):
        merge_files(out, (*shards, other))
    _rewrite(shards[0], other, lambda entry: entry._replace(content0="0" * 64, content1="0" * 64))
    with pytest.raises(StoreError, match=r"is not the same photo in both .content [0-9a-f]{12} and 0{12}"):
        merge_files(out, (*shards, other))
    _rewrite(shards[0], other, _turned)
    with pytest.raises(StoreError, match="in both orders"):
        merge_files(out, (*shards, other))
    assert not out.exists()


def test_outputs_are_kept(scene, shards: tuple[Path, ...]) -> None:
    out = scene.root / "m.h5"
    shutil.copy(shards[0], out)
    with pytest.raises(StoreError, match="--overwrite"):
        merge_files(out, shards)
    merge_files(out, shards, overwrite=True)
    (scene.root / "note.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not an HDF5 file"):
        merge_files(scene.root / "note.txt", shards, overwrite=True)
    scene.journal().mkdir()
    with pytest.raises(StoreError, match="has begun to write"):
        merge_files(out, shards, overwrite=True)


def test_another_shard_into_the_same_file_is_refused(scene, shards: tuple[Path, ...]) -> None:
    with pytest.raises(StoreError, match="of another shard than 2/3"):
        match_pairs(scene.options("shards/1.h5", shard="2/3", batch=4))
    with pytest.raises(AstrError, match="nothing is left for it"):
        match_pairs(scene.options("shards/9.h5", shard="9/9", batch=8))


def _rewrite(source: Path, target: Path, change) -> None:
    """A matches file with every entry changed."""
    with MatchesFile(source) as file:
        entries = [MatchEntry(*pair[:4], file.read(*pair[:2]), *pair[4:]) for pair in file.pairs()]
        attributes = {name: text for name, text in file.attributes.items() if name != "format"}
    attributes["images"] = "."
    write_matches(target, attributes.items(), [change(entry) for entry in entries])


def _shortened(entry: MatchEntry) -> MatchEntry:
    rows = entry.matches
    return entry._replace(matches=rows.where(slice(1, None)))


def _turned(entry: MatchEntry) -> MatchEntry:
    return MatchEntry(
        entry.name1,
        entry.name0,
        entry.size1,
        entry.size0,
        entry.matches.swapped(),
        entry.matched1,
        entry.matched0,
        entry.content1,
        entry.content0,
    )
