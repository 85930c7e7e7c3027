"""Pair lists: what is read, and what is refused with its line."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.pairs.reading import Pair, PairList, PairsError, format_pair, pair_key, read_pairs


def read(folder: Path, text: str | bytes) -> PairList:
    path = folder / "pairs.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_pairs(path)


def names(folder: Path, text: str | bytes) -> list[tuple[str, str]]:
    return [(pair.name0, pair.name1) for pair in read(folder, text).pairs]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.jpg b.jpg", ("a.jpg", "b.jpg")),
        ("  a.jpg \t b.jpg  ", ("a.jpg", "b.jpg")),
        ("a.jpg\tb.jpg", ("a.jpg", "b.jpg")),
        ("a one.jpg\tb two.jpg", ("a one.jpg", "b two.jpg")),
        ("a one.jpg\t\tb.jpg", ("a one.jpg", "b.jpg")),
        ('"a one.jpg" b.jpg', ("a one.jpg", "b.jpg")),
        ("'a one.jpg' \"b two.jpg\"", ("a one.jpg", "b two.jpg")),
        ('"a one.jpg"\tb two.jpg', ("a one.jpg", "b two.jpg")),
        ('"it\'s a.jpg" b"c.jpg', ("it's a.jpg", 'b"c.jpg')),
        ("it's.jpg b.jpg", ("it's.jpg", "b.jpg")),
        ("a.jpg b.jpg # good", ("a.jpg", "b.jpg")),
        ("a.jpg b.jpg #good", ("a.jpg", "b.jpg")),
        ("a.jpg\tb.jpg\t# good", ("a.jpg", "b.jpg")),
        ("a#1.jpg b.jpg", ("a#1.jpg", "b.jpg")),
        ('"# a.jpg" b.jpg', ("# a.jpg", "b.jpg")),
        ("./a.jpg cam//./b.jpg", ("a.jpg", "cam/b.jpg")),
        ("a.jpg b.jpg\r", ("a.jpg", "b.jpg")),
        ("Façade/日本.jpg b.jpg", ("Façade/日本.jpg", "b.jpg")),
        ("..a.jpg b...jpg", ("..a.jpg", "b...jpg")),
        ("a\u2028b.jpg c.jpg", None),  # a line separator is white space
    ],
)
def test_lines(tmp_path: Path, line: str, expected: tuple[str, str] | None) -> None:
    if expected is None:
        with pytest.raises(PairsError):
            names(tmp_path, line)
    else:
        assert names(tmp_path, line) == [expected]


def test_order_lines_comments_and_bom(tmp_path: Path) -> None:
    found = read(tmp_path, b"\xef\xbb\xbf# head\n\na.jpg b.jpg\r\n  # more\nc.jpg a.jpg")
    assert found == PairList((Pair("a.jpg", "b.jpg", 3), Pair("c.jpg", "a.jpg", 5)), ())


def test_duplicates_either_way_round(tmp_path: Path) -> None:
    found = read(tmp_path, "a b\nb a\na c\n./a b\n")
    assert found.pairs == (Pair("a", "b", 1), Pair("a", "c", 3))
    assert found.duplicates == (Pair("b", "a", 2), Pair("a", "b", 4))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a b\nc\n")))
    with pytest.raises(PairsError, match=r"^standard input:2: 1 name instead of 2"):
        read_pairs(Path("-"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"pairs\.txt: holds no pairs"),
        ("# only a comment\n", r"pairs\.txt: holds no pairs"),
        ("a b\nc\n", r"pairs\.txt:2: 1 name instead of 2"),
        ("a b c", r"pairs\.txt:1: 3 names instead of 2; put quotes around names with spaces"),
        ("a\tb\tc", r"pairs\.txt:1: 3 names"),
        ("a.jpg b.jpg 0 0 1.5e3 0.0 0 .5 -1 1", r"10 names .* SuperGlue's .*, keep the names: a\.jpg b\.jpg$"),
        ("a.jpg b.jpg 0.37", r"3 names .* keep the names: a\.jpg b\.jpg$"),
        ("a.jpg,b.jpg", r"1 name .*; replace the comma between the names: a\.jpg b\.jpg$"),
        ("my photo.jpg, b.jpg", r'; replace the comma between the names: "my photo\.jpg" b\.jpg$'),
        ("a.jpg;b.jpg", r"; replace the semicolon between the names: a\.jpg b\.jpg$"),
        ("photo 1 2", "put quotes around names with spaces"),
        ("a,b", "put quotes around names with spaces"),
        ("my photo.jpg b.jpg", r"pairs\.txt:1: 3 names"),
        ("a b\n\na.jpg a.jpg", r"pairs\.txt:3: a\.jpg is paired with itself"),
        ("a.jpg ./a.jpg", r"paired with itself"),
        ("/photos/a.jpg b.jpg", r"pairs\.txt:1: /photos/a\.jpg is an absolute path"),
        ("C:\\photos\\a.jpg b.jpg", "is an absolute path"),
        ("../a.jpg b.jpg", "leaves the image root"),
        ("cam/../../a.jpg b.jpg", "leaves the image root"),
        ('"" b.jpg', "an empty name"),
        (". b.jpg", "an empty name"),
        ("a\x00.jpg b.jpg", "control character"),
        ('"a\tb.jpg" c.jpg', "control character"),
        (b"a.jpg b.jpg\ncaf\xe9.jpg b.jpg\n", r"pairs\.txt:2: not valid UTF-8 \(byte 0xe9\)"),
        ("a b".encode("utf-16"), "is UTF-16 text"),
        (
            "a/b.jpg x.jpg\na-b.jpg x.jpg",
            r"pairs\.txt:2: a-b\.jpg x\.jpg and line 1: a/b\.jpg x\.jpg have the same key",
        ),
        ("x.jpg a/b.jpg\na-b.jpg x.jpg", "have the same key"),
        ("a/b.jpg a-b.jpg", r"a/b\.jpg and a-b\.jpg have the same key"),
    ],
)
def test_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(PairsError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match=r"gone\.txt: no such file"):
        read_pairs(tmp_path / "gone.txt")
    with pytest.raises(PairsError, match="is a folder"):
        read_pairs(tmp_path)


def test_pair_key_is_hlocs() -> None:
    assert pair_key("cam 1/a.jpg", "cam/2/b.jpg") == "cam 1-a.jpg/cam-2-b.jpg"


# All that a file system allows and one line of UTF-8 can hold, but both kinds of quotes in one name with spaces.
LETTERS = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="/\"'")
PARTS = st.text(LETTERS, min_size=1, max_size=8).filter(lambda part: part.strip() == part and part not in (".", ".."))
NAMES = st.lists(PARTS, min_size=1, max_size=3).map("/".join).filter(lambda name: name[1:2] != ":")


@given(NAMES, NAMES)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, name0: str, name1: str) -> None:
    if pair_key(name0, name1) == pair_key(name1, name0):
        return
    folder = tmp_path_factory.getbasetemp()
    assert names(folder, format_pair(name0, name1) + "\n") == [(name0, name1)]


@given(st.text("a \"'#\t\n\x01", min_size=1, max_size=6), st.text("b \"'#\t\n", min_size=1, max_size=6))
def test_what_cannot_be_written_is_refused(tmp_path_factory: pytest.TempPathFactory, name0: str, name1: str) -> None:
    try:
        line = format_pair(name0, name1)
    except PairsError as error:
        assert "\n" not in str(error)
        return
    assert names(tmp_path_factory.getbasetemp(), line + "\n") == [(name0, name1)]


def test_both_kinds_of_quotes_and_a_comment_sign() -> None:
    with pytest.raises(PairsError, match="cannot both stand on one line of a pairs file; rename one"):
        format_pair('it\'s "a" #1.jpg', "b.jpg")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    try:
        found = read(tmp_path_factory.getbasetemp(), data)
    except PairsError as error:
        assert "\n" not in str(error)
    else:
        for pair in found.pairs:
            assert pair.name0 != pair.name1 and not pair.name0.startswith("/") and ".." not in pair.name0.split("/")


def test_a_long_list_is_fast_to_read(tmp_path: Path) -> None:
    lines = [f"cam/IMG_{i:05d}.jpg cam/IMG_{i + j:05d}.jpg" for i in range(4000) for j in range(1, 11)]
    assert len(read(tmp_path, "\n".join(lines)).pairs) == 40_000
