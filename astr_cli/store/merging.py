"""`merge_files`: one matches.h5 from the shards of a run, byte for byte that of a run without shards."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from astr_cli.files import check_output_file, real_path
from astr_cli.store.errors import StoreError
from astr_cli.store.joining import JoinedMatches, join_files, seen_from
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.output import refuse_foreign
from astr_cli.store.types import MatchEntry
from astr_cli.store.writer import write_matches
from astr_cli.wording import counted


class MergeSummary(NamedTuple):
    """What a merge wrote."""

    out: Path
    files: int
    images: int
    pairs: int
    repeated: int
    """Pairs that more than one file holds."""


def merge_files(
    out: Path,
    paths: tuple[Path, ...],
    listed: tuple[tuple[str, str], ...] | None = None,
    overwrite: bool = False,
    check: Callable[[], None] = lambda: None,
) -> MergeSummary:
    """Writes the pairs of several matches files to `out`.

    listed: the names of all pairs that there shall be. `check` is called for each pair, and may raise.
    Raises StoreError: `out` exists (unless `overwrite`), listed pairs are in no file, or as `join_files` does;
    JournalMismatch: other options; Stopped: disk full.
    """
    out = real_path(out)
    check_output_file(out)
    refuse_foreign(out)
    if out.with_name(f"{out.name}.journal").is_dir():
        raise StoreError(f"{out}: astr match has begun to write it; choose another name")
    if out.exists() and not overwrite:
        raise StoreError(f"{out}: exists; choose another name, or replace it with --overwrite")
    joined = join_files(paths)
    _require_complete(joined, listed)
    with ExitStack() as files:
        opened = {path: files.enter_context(MatchesFile(path)) for path in joined.paths}
        attributes = {**seen_from(joined.attributes, paths[0], out)}
        attributes.pop("format")
        write_matches(out, attributes.items(), _entries(joined, opened, check), before_rename=files.close)
    names = {name for pair in joined.pairs for name in pair[:2]}
    return MergeSummary(out, len(joined.paths), len(names), len(joined.pairs), joined.repeated)


def write_without(path: Path, out: Path, names: Collection[str], check: Callable[[], None] = lambda: None) -> int:
    """Writes the pairs of a matches file that have none of these photos to `out`; returns their number.

    `check` is called for each pair, and may raise. Raises StoreError: damaged; Stopped: disk full.
    """
    joined = join_files((path,))
    kept = [pair for pair in joined.pairs if not {pair.name0, pair.name1} & set(names)]
    with MatchesFile(path) as file:
        attributes = seen_from(joined.attributes, path, out)
        attributes.pop("format")
        rest = joined._replace(pairs=tuple(kept), sources=(path,) * len(kept))
        write_matches(out, attributes.items(), _entries(rest, {path: file}, check))
    return len(kept)


def _entries(
    joined: JoinedMatches, opened: Mapping[Path, MatchesFile], check: Callable[[], None]
) -> Iterator[MatchEntry]:
    for pair, path in zip(joined.pairs, joined.sources, strict=True):
        check()
        matches = opened[path].read(pair.name0, pair.name1)
        yield MatchEntry(*pair[:4], matches, *pair[4:])


def _require_complete(joined: JoinedMatches, listed: tuple[tuple[str, str], ...] | None) -> None:
    held = {frozenset(pair[:2]) for pair in joined.pairs}
    missing = [names for names in listed or () if frozenset(names) not in held]
    if missing:
        raise StoreError(
            f"{joined.paths[0]}: this and the other files lack {counted(len(missing), 'listed pair')} (for example "
            f"{' '.join(missing[0])}); finish the missing shard, or merge without --pairs"
        )
