"""Reading pair lists line by line, and refusing lines that would fail hours later.

A line is `name0 name1`, split at white space; names with spaces stand in quotes ("..." or '...') or are separated by a
tab. `#` at the start of a word begins a comment. (a, b) and (b, a) are the same pair.
"""

import codecs
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from astr_cli.errors import AstrError
from astr_cli.names import NameProblem, clean_name

# A quoted name must end where its quotes do; a bare word ends at white space. `#` inside a word belongs to the name.
_TOKEN = re.compile(r"""\s*(?:(?P<comment>\#)|"(?P<double>[^"]*)"(?=\s|$)|'(?P<single>[^']*)'(?=\s|$)|(?P<bare>\S+))""")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_SEPARATORS = {",": "comma", ";": "semicolon"}


class PairsError(AstrError):
    """A pair list that cannot be used; the message says file, line, what is wrong and what to do."""


@dataclass(frozen=True)
class Pair:
    """Two image names, POSIX paths relative to the image root, in the order of the file."""

    name0: str
    name1: str
    line: int  # in the file, from 1


@dataclass(frozen=True)
class PairList:
    """The pairs of a file in its order, each once, and the lines that repeat one of them (either way round)."""

    pairs: tuple[Pair, ...]
    duplicates: tuple[Pair, ...]


def pair_key(name0: str, name1: str) -> str:
    """hloc's key of a pair (docs/formats.md, Pair keys): "/" in the names becomes "-", the two are joined by "/"."""
    return f"{name0.replace('/', '-')}/{name1.replace('/', '-')}"


def format_pair(name0: str, name1: str) -> str:
    """The line (without newline) that `read_pairs` reads back as these two names. Raises PairsError if none does."""
    for line in (f"{_quoted(name0)} {_quoted(name1)}", f"{name0}\t{name1}"):
        if len(_split(line)) != 2:
            continue
        pair = _parse(line, 0, f"{name0!r} {name1!r}")
        if pair is not None and (pair.name0, pair.name1) == (name0, name1):
            return line
    raise PairsError(f"{name0!r} and {name1!r}: cannot both stand on one line of a pairs file; rename one of the files")


def read_pairs(path: Path) -> PairList:
    """Read a pair list; the path "-" is standard input.

    Raises PairsError: unreadable, not UTF-8, empty, a line without exactly two names, an absolute name or one with
    "..", an image paired with itself, two pairs that would share one key in matches.h5.
    """
    shown = "standard input" if str(path) == "-" else str(path)
    pairs: list[Pair] = []
    duplicates: list[Pair] = []
    seen: dict[frozenset[str], Pair] = {}
    keys: dict[str, Pair] = {}
    for number, text in _lines(path, shown):
        pair = _parse(text, number, f"{shown}:{number}")
        if pair is None:
            continue
        names = frozenset((pair.name0, pair.name1))
        if names in seen:
            duplicates.append(pair)
            continue
        seen[names] = pair
        _claim_key(pair, keys, shown)
        pairs.append(pair)
    if not pairs:
        raise PairsError(f"{shown}: holds no pairs; write two image names on each line")
    return PairList(tuple(pairs), tuple(duplicates))


def _lines(path: Path, shown: str) -> Iterator[tuple[int, str]]:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except FileNotFoundError:
        raise PairsError(f"{shown}: no such file; name a text file with two image names per line") from None
    except IsADirectoryError:
        raise PairsError(f"{shown}: is a folder; name the text file that lists the pairs") from None
    except OSError as error:
        raise PairsError(f"{shown}: cannot be read ({error.strerror}); check its permissions") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise PairsError(f"{shown}: is UTF-16 text (PowerShell's > writes it); save it as UTF-8")
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        try:
            yield number, line.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError as error:
            bad = line[error.start]
            raise PairsError(f"{shown}:{number}: not valid UTF-8 (byte 0x{bad:02x}); save the file as UTF-8") from None


def _parse(text: str, number: int, where: str) -> Pair | None:
    words = _split(text)
    if not words:
        return None
    if len(words) != 2:
        found = "1 name" if len(words) == 1 else f"{len(words)} names"
        raise PairsError(f"{where}: {found} instead of 2; {_advice(words)}")
    name0, name1 = (_clean(word, where) for word in words)
    if name0 == name1:
        raise PairsError(f"{where}: {name0} is paired with itself; delete the line")
    return Pair(name0, name1, number)


def _advice(words: list[str]) -> str:
    """What to do about a line that does not hold two names."""
    if len(words) > 2 and all(map(_NUMBER.fullmatch, words[2:])) and all(map(_suffix, words[:2])):
        return f"remove the numbers (of SuperGlue's or MegaDepth's lists), keep the names: {' '.join(words[:2])}"
    joined = " ".join(words)
    separator = next((sign for sign in (",", ";") if joined.count(sign) == 1), None)
    if separator is not None:
        names = [part.strip() for part in joined.split(separator)]
        if all(map(_suffix, names)):
            example = " ".join(_quoted(name) for name in names)
            return f"replace the {_SEPARATORS[separator]} between the names: {example}"
    return "put quotes around names with spaces"


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix


def _split(text: str) -> list[str]:
    """The names of a line: fields between tabs where a tab stands outside of quotes, else words."""
    words: list[str] = []
    quoted: set[int] = set()  # positions inside of quotes
    position, end = 0, len(text)
    while match := _TOKEN.match(text, position):
        position = match.end()
        if match["comment"]:
            end = match.start("comment")
            break
        kind = next(kind for kind in ("double", "single", "bare") if match[kind] is not None)
        words.append(match[kind])
        if kind != "bare":
            quoted.update(range(*match.span(kind)))
    first, last = len(text) - len(text.lstrip()), len(text[:end].rstrip())
    tabs = [at for at in range(first, last) if text[at] == "\t" and at not in quoted]
    if not tabs:
        return words
    edges = [first - 1, *tabs, last]
    fields = [text[left + 1 : right].strip() for left, right in pairwise(edges)]
    return [_unquoted(field) for field in fields if field]


def _quoted(name: str) -> str:
    if not re.search(r"\s|^[\"'#]", name):
        return name
    return f"'{name}'" if '"' in name else f'"{name}"'


def _unquoted(field: str) -> str:
    match = _TOKEN.fullmatch(field)
    return field if match is None or match["comment"] else match["double"] or match["single"] or match["bare"] or ""


def _clean(name: str, where: str) -> str:
    try:
        return clean_name(name)
    except NameProblem as problem:
        raise PairsError(f"{where}: {problem}") from None


def _claim_key(pair: Pair, keys: dict[str, Pair], shown: str) -> None:
    """matches.h5 finds a pair by its key only, and readers try both orders: both must be free."""
    key, reverse = pair_key(pair.name0, pair.name1), pair_key(pair.name1, pair.name0)
    if key == reverse:
        raise PairsError(
            f"{shown}:{pair.line}: {pair.name0} and {pair.name1} have the same key ('/' is stored as '-'); rename one"
        )
    other = keys.get(key) or keys.get(reverse)
    if other is not None:
        raise PairsError(
            f"{shown}:{pair.line}: {pair.name0} {pair.name1} and line {other.line}: {other.name0} {other.name1} "
            f"have the same key {key} ('/' is stored as '-'); rename an image"
        )
    keys[key] = pair
