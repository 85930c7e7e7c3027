"""`astr match` on bad input and bad luck: each exit code of docs/design.md (Errors), one line and no traceback."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from astr_cli.matching.run.events import PairDone
from astr_cli.matching.run.match import match_pairs
from astr_cli.store.matches_file import MatchesFile

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(scene, capfd: pytest.CaptureFixture[str]) -> Run:
    """run(*more) is `astr match` of the scene with more arguments: (exit code, standard output, standard error)."""
    from astr_cli.cli.app import run as astr

    def call(*more: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = astr(scene.arguments("m.h5", *more))
        streams = capfd.readouterr()
        assert "Traceback" not in streams.err
        return code, streams.out, streams.err

    return call


def refused(result: tuple[int, str, str], *parts: str) -> None:
    """Exit 2, one line on standard error that holds all `parts`, nothing else."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("astr: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


def test_0_done(run: Run, scene) -> None:
    code, out, err = run()
    assert code == 0
    assert f"{scene.root}/m.h5: 15 pairs" in out
    assert f"next: astr colmap-import {scene.root}/m.db --matches {scene.root}/m.h5" in out
    assert "6 photos, 15 pairs (0 already matched)" in err
    assert "15/15 pairs" in err


def test_0_a_duplicate_pair_is_a_warning(run: Run, scene) -> None:
    scene.write_pairs([*scene.pairs, scene.pairs[0][::-1]])
    code, _, err = run()
    assert code == 0
    assert "pairs.txt:16" in err


def test_0_again_reuses_all(run: Run) -> None:
    run()
    code, out, _ = run()
    assert code == 0
    assert "15 of them matched in an earlier run" in out


def test_quiet_prints_nothing(run: Run) -> None:
    assert run("--quiet") == (0, "", "")


def test_json_is_one_object_a_line(run: Run) -> None:
    code, out, err = run("--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [record["event"] for record in records] == ["started", *["pair"] * 15, "writing", "summary"]
    assert records[-1]["pairs"] == records[-2]["pairs"] == 15


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "holds no pairs"),
        (b"# nothing\n\n", "holds no pairs"),
        (b"photo00.png photo01.png\nphoto00.png\n", "pairs.txt:2: 1 name instead of 2"),
        (b"a b c\n", "pairs.txt:1: 3 names"),
        (b"photo00.png photo00.png\n", "pairs.txt:1: photo00.png is paired with itself"),
        (b"photo00.png phot\xff.png\n", "pairs.txt:1: not valid UTF-8"),
        (b"a/b.png c.png\na-b.png c.png\n", "pairs.txt:2:"),
    ],
)
def test_2_bad_pairs_file(run: Run, scene, content: bytes, part: str) -> None:
    (scene.root / "pairs.txt").write_bytes(content)
    refused(run(), part)
    assert not scene.journal().exists()


def test_2_unknown_name_with_the_nearest_one(run: Run, scene) -> None:
    scene.write_pairs([*scene.pairs, ("photo00.png", "Photo03.PNG")])
    refused(run(), "pairs.txt:16: Photo03.PNG: no such image", "did you mean photo03.png?", "--skip-bad")


def test_2_undecodable_image(run: Run, scene) -> None:
    (scene.root / scene.names[3]).write_text("not a photo")
    refused(run(), "photo03.png: not an image")


def test_2_heic_says_what_to_do(run: Run, scene) -> None:
    (scene.root / "a.heic").write_bytes(b"anything")
    scene.write_pairs([(scene.names[0], "a.heic")])
    refused(run(), "a.heic", "convert it to JPEG")


def test_2_missing_pairs_file_and_image_root(run: Run, scene) -> None:
    refused(run("--images", str(scene.root / "nowhere")), "no such folder")
    (scene.root / "pairs.txt").unlink()
    refused(run(), "pairs.txt: no such file")


def test_2_weights(run: Run, scene, tmp_path: Path) -> None:
    refused(run("--weights", "astr-smal"), "astr-smal: no such weights")
    content = bytearray(scene.weights.read_bytes())
    content[-1] ^= 1
    (tmp_path / "bad.safetensors").write_bytes(content)
    refused(run("--weights", str(tmp_path / "bad.safetensors")), "bad.safetensors: damaged")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_2_cuda_asked_for_and_absent(run: Run) -> None:
    refused(run("--device", "cuda"), "--device cuda", "CPU")


def test_2_unwritable_output(run: Run, scene) -> None:
    refused(run("--out", str(scene.root / "no" / "m.h5")), "create it first")
    refused(run("--out", str(scene.root)), "is a folder")
    (scene.root / "m.h5").write_text("somebody else's")
    for overwrite in ((), ("--overwrite",)):
        refused(run(*overwrite), "m.h5: exists and is not an HDF5 file, so astr keeps it; choose another --out")
    assert (scene.root / "m.h5").read_text() == "somebody else's"


def test_2_other_options_than_before(run: Run) -> None:
    run()
    refused(run("--max-matches", "7"), "max_matches: all -> 7", "--overwrite")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--threshold", "2"), "--threshold 2"),
        (("--precision", "fp16"), "'--precision': 'fp16' is not one of 'fp32', 'bf16'"),
        (("--memory", "lots"), "--memory lots"),
        (("--tiles",), "--tiles with --long-side 96: give at least 128 pixels"),
        (("--cameras", "nowhere.txt"), "nowhere.txt: no such file"),
        (("--bogus",), "--bogus"),
        (("--long-side", "wide"), "--long-side"),
    ],
)
def test_2_bad_usage(run: Run, arguments: tuple[str, ...], part: str) -> None:
    refused(run(*arguments), part)


def test_2_second_run_on_the_same_output(run: Run, scene) -> None:
    seen: list[tuple[int, str, str]] = []

    def meanwhile(event: object) -> None:
        if isinstance(event, PairDone) and event.finished == 1:
            seen.append(run())

    match_pairs(scene.options(), meanwhile)
    refused(seen[0], "another run")


def test_3_skip_bad_lists_what_it_left_out(run: Run, scene) -> None:
    (scene.root / scene.names[5]).unlink()
    code, out, err = run("--skip-bad")
    assert code == 3
    assert "10 pairs" in out
    assert err.count("failed: ") == 1
    assert "failed: photo05.png: no such image" in err and "; 5 pairs left out\n" in err
    assert "5 of 15 pairs failed; repair these photos and run the same command to try them again" in err
    with MatchesFile(scene.root / "m.h5") as file:
        assert len(file.pairs()) == 10
    code, _, err = run("--skip-bad", "--quiet")
    assert (code, err.count("failed: "), err.count("5 pairs left out")) == (3, 1, 1)


def test_3_image_whose_header_is_fine_and_whose_pixels_are_not(run: Run, scene) -> None:
    path = scene.root / scene.names[5]
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(8)
    path.write_bytes(content)
    code, out, err = run()
    assert code == 3
    assert "10 pairs" in out
    assert err.count("photo05.png: damaged or cut off") == 1
    assert "; 5 pairs left out" in err
    assert "5 of 15 pairs failed; run the same command to try them again" in err


def test_3_skip_bad_with_nothing_left_is_bad_input(run: Run, scene) -> None:
    for name in scene.names[1:]:
        (scene.root / name).unlink()
    refused(run("--skip-bad"), "every pair contains an unusable image")


def test_longest_list_of_failures_is_cut(run: Run, scene, make_photos) -> None:
    names = make_photos(scene.root, 9)
    scene.write_pairs([*scene.pairs, *((names[0], f"missing{index}.png") for index in range(25))])
    code, _, err = run("--skip-bad")
    assert code == 3
    assert err.count("failed: missing") + err.count("failed: photo00") == 20
    assert "5 more lines" in err


def test_pairs_from_standard_input(run: Run, scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with (scene.root / "pairs.txt").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        from astr_cli.cli.app import run as astr

        arguments = ["-" if part.endswith("pairs.txt") else part for part in scene.arguments("stdin.h5")]
        assert astr([*arguments, "--images", str(scene.root), "--quiet"]) == 0
    run()
    with MatchesFile(scene.root / "stdin.h5") as one, MatchesFile(scene.root / "m.h5") as other:
        assert one.pairs() == other.pairs()
