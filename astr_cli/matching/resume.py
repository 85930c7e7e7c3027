"""Everything that decides a run's results, and the results that an earlier run left."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from astr_cli.images.info import ImageInfo
from astr_cli.images.upright import upright_size
from astr_cli.matching.run.prepare import PreparedRun
from astr_cli.options.matching import MatchingOptions, MatchOptions
from astr_cli.options.option import declared, stored_texts
from astr_cli.pairs.reading import Pair
from astr_cli.store.errors import StoreError
from astr_cli.store.hashes import HashBook
from astr_cli.store.output import Output, read_output
from astr_cli.store.run_info import ImageStamp, RunInfo

Names: TypeAlias = tuple[str, str]

# Sizes of a pair's rows and of what HDF5 adds to them (docs/formats.md, Size), and the share of cells that match in an
# easy pair (0.59 of them in the mean of fountain-P11's nearest pairs).
_ROW_BYTES, _SIGMA_BYTES = 21, 4
_PAIR_BYTES = 3000
_MATCHED_CELLS = 0.6


def names_of(pair: Pair) -> Names:
    """The two names, in the order of the pairs file."""
    return pair.name0, pair.name1


def run_info(prepared: PreparedRun, hashes: HashBook) -> RunInfo:
    """The options that decide a run's matches; they become the attributes of matches.h5 and the journal's head."""
    options, compute = prepared.options, prepared.compute
    resolved = {
        "long_side": compute.long_side,
        "cameras": prepared.cameras.name,
        "precision": compute.precision,
        "masks": None if options.masks is None else _folder_text(options.masks, options.out),
    }
    texts = dict(stored_texts(options, resolved))
    del texts["weights"]  # by its content
    first = {
        "images": _folder_text(options.root, options.out),
        "model": prepared.weights.name,
        "weights_sha256": prepared.weights.sha256,
    }
    masks = prepared.masks or {}
    hashes.read([*(info.path for info in prepared.infos.values()), *masks.values()], options.workers)
    stamps = tuple(stamp_of(info, masks.get(info.name), hashes) for info in prepared.infos.values())
    matched = {
        name: each.size if options.tiles else upright_size(each.matched, each.orientation)
        for name, each in prepared.views.items()
    }
    absent = {each.key: each.before for each in declared(MatchingOptions) if each.key in texts}
    return RunInfo(tuple({**first, **texts}.items()), stamps, matched, absent)


def stamp_of(info: ImageInfo, mask: Path | None, hashes: HashBook) -> ImageStamp:
    """A photo and its mask together: when the content of either changes, the photo's pairs are to be matched again.

    A photo without a mask is the photo alone, whatever other masks there are.
    """
    content = hashes.of(info.path)
    stamp = ImageStamp(info.name, info.width, info.height, info.mtime_ns, info.file_size, content)
    if mask is None:
        return stamp
    status = mask.stat()
    return stamp._replace(
        mtime_ns=max(info.mtime_ns, status.st_mtime_ns),
        file_size=info.file_size + status.st_size,
        content=hashlib.sha256(f"{content} {hashes.of(mask)}".encode()).hexdigest(),
    )


def earlier_output(options: MatchOptions) -> Output | None:
    """The output of a finished run; None: there is none, or a run was interrupted since, or `overwrite` is set.

    Raises StoreError when matches.h5 is damaged or not from astr.
    """
    out = options.out
    if options.overwrite or not out.is_file() or out.with_name(out.name + ".journal").exists():
        return None
    return read_output(out)


def is_finished(prepared: PreparedRun, info: RunInfo, earlier: Output) -> bool:
    """Whether matches.h5 holds exactly these pairs already.

    Raises JournalMismatch when it was made with other options, StoreError when it holds pairs that are no longer
    listed.
    """
    reusable = earlier.reusable(info)
    find_losses(prepared, earlier.names())
    return len(earlier.pairs) == len(prepared.pairs) and all(names_of(pair) in reusable for pair in prepared.pairs)


def find_losses(prepared: PreparedRun, stored: list[Names]) -> list[Names]:
    """Pairs that were matched before and are no longer listed: writing would delete them.

    Raises StoreError when there are any, unless the options have `prune`.
    """
    listed = {frozenset(names_of(pair)) for pair in prepared.pairs}
    lost = [names for names in stored if frozenset(names) not in listed]
    if lost and not prepared.options.prune:
        shard = prepared.options.shard
        where = "with missing photos" if shard is None else f"of another shard than {shard}"
        raise StoreError(
            f"{prepared.options.out}: contains {'1 pair' if len(lost) == 1 else f'{len(lost)} pairs'} no longer in "
            f"{prepared.options.pairs} or {where} (for example {lost[0][0]} {lost[0][1]}); "
            "this run would delete them: "
            "drop them with --prune, choose another --out, or start over with --overwrite"
        )
    return lost


def expected_bytes(prepared: PreparedRun, left: int, rows: float | None = None) -> int:
    """The bytes of journal and output: `left` pairs go to the journal, all pairs to the output.

    `rows` is the measured number per pair; without it all pairs count as easy ones.
    """
    if rows is None:
        sizes = [view.size if prepared.options.tiles else view.matched for view in prepared.views.values()]
        coarse = _MATCHED_CELLS * sum(width * height / 64 for width, height in sizes) / max(len(sizes), 1)
        if prepared.options.max_matches is not None:
            coarse = min(coarse, prepared.options.max_matches)
        rows = coarse if prepared.options.one_way else 2 * coarse
    row_bytes = _ROW_BYTES + _SIGMA_BYTES * prepared.options.refine_matches
    return int((left + len(prepared.pairs)) * (rows * row_bytes + _PAIR_BYTES))


def _folder_text(folder: Path, out: Path) -> str:
    """The folder as seen from the output's: matches.h5 holds no absolute paths, and moves with its photos."""
    with suppress(ValueError):  # another drive
        folder = Path(os.path.relpath(folder, out.parent))
    return folder.as_posix()
