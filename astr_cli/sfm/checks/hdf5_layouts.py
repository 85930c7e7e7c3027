"""The checks of each HDF5 layout (docs/formats.md, Formats of other programs)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.checks.graph import PairCount, check_graph, check_names
from astr_cli.sfm.checks.hdf5 import FEATURES, HDF5Leaves, Kind, Leaf
from astr_cli.sfm.checks.points import check_indices, check_keypoints, judge, report_suspicion
from astr_cli.sfm.checks.report import FileReport, Findings, UnreadableError, names_of
from astr_cli.sfm.tracks.match_rows import matched_before
from astr_cli.store.errors import StoreError
from astr_cli.store.matches_file import DAMAGE, MatchesFile
from astr_cli.store.types import PairMatches, StoredPair
from astr_cli.wording import first_line

Counts = dict[str, int]  # keypoints by image
CELL = 8  # matched pixels
NEAR = 0.1  # original pixels from the centre of a cell, of a point that is on it


def check_hdf5(path: Path, others: Iterable[Path], alive: Callable[[], None]) -> FileReport:
    """Checks one file. others: where its keypoints may lie. Raises UnreadableError."""
    found = Findings()
    with closing(HDF5Leaves(path, alive)) as layout:
        for broken in layout.broken:
            found.add("error", "damaged", broken)
        if layout.kind == "astr matches":
            images, pairs, matches = _check_ours(layout, found)
        elif layout.kind in FEATURES:
            counts = _check_features(layout, found)
            images, pairs, matches = len(counts), 0, 0
        else:
            check, wanted = (_check_hloc, FEATURES) if layout.kind == "hloc matches" else (_check_imc, FEATURES[::-1])
            known = _find_keypoints(others, wanted, alive)
            counted = check(layout, found, known)
            names = {name for pair in counted for name in pair[:2]} if known is None else set(known)
            check_graph(found, names, counted, "warning")
            images, pairs, matches = len(names), len(counted), sum(pair.matches for pair in counted)
    return FileReport(str(path), layout.kind, images, pairs, matches, found.list())


def _check_ours(layout: HDF5Leaves, found: Findings) -> tuple[int, int, int]:
    """matches.h5 of astr; images, pairs and matches."""
    counted, odd = [], set()
    sizes: dict[str, tuple[int, int]] = {}
    try:
        with MatchesFile(layout.path, indexed=False) as file, ExitStack() as stack:
            fast = _indexed(layout.path, file, stack, found)
            for pair in file.pairs():
                before = [matched_before(file.attributes, size) for size in (pair.size0, pair.size1)]
                layout.alive()
                for name, size in ((pair.name0, pair.size0), (pair.name1, pair.size1)):
                    if sizes.setdefault(name, size) != size:
                        found.add("error", "bad-array", f"{name} has two sizes, {sizes[name]} and {size}")
                try:
                    matches = file.read(pair.name0, pair.name1)
                except StoreError as error:
                    found.add("error", "damaged", str(error).removeprefix(f"{layout.path}: ").split(";")[0])
                    continue
                if fast is not None and not _is_same(fast, pair, matches):
                    found.add("error", "index", names_of(pair.name0, pair.name1))
                counted.append(PairCount(pair.name0, pair.name1, len(matches)))
                odd |= _odd_images(pair, (matches.keypoints0, matches.keypoints1), matches.reference, before, found)
    except StoreError as error:
        raise UnreadableError(str(error).removeprefix(f"{layout.path}: ")) from None
    for name in sorted(odd):
        found.add("warning", "half-pixel", name)
    check_names(found, sizes, "error")
    check_graph(found, sizes, counted, "warning")
    return len(sizes), len(counted), sum(pair.matches for pair in counted)


def _indexed(path: Path, file: MatchesFile, stack: ExitStack, found: Findings) -> MatchesFile | None:
    """The same file by its index; None: it has none, or it does not list the same pairs, which is noted."""
    try:
        fast = stack.enter_context(MatchesFile(path))
    except StoreError as error:
        found.add("error", "index", str(error).removeprefix(f"{path}: ").split(";")[0])
        return None
    if fast.index is None or fast.pairs() == file.pairs():
        return fast if fast.index is not None else None
    found.add("error", "index", f"{len(fast.pairs())} pairs in the index, {len(file.pairs())} groups")
    return None


def _is_same(fast: MatchesFile, pair: StoredPair, matches: PairMatches) -> bool:
    """Whether the rows that the index leads to are those of the group."""
    try:
        found = fast.read(pair.name0, pair.name1)
    except StoreError:
        return False
    return all(array.tobytes() == found.columns()[spec].tobytes() for spec, array in matches.columns().items())


def _odd_images(
    pair: StoredPair,
    keypoints: tuple[NDArray[np.float32], NDArray[np.float32]],
    reference: NDArray[np.uint8],
    before: list[tuple[int, int] | None],
    found: Findings,
) -> set[str]:
    """The images of a pair whose points look half a pixel off; also notes points outside the image.

    before: the matched sizes, for a pair that does not hold them itself.
    """
    odd = set()
    matched = (pair.matched0 or before[0], pair.matched1 or before[1])
    sides = zip((pair.name0, pair.name1), keypoints, (pair.size0, pair.size1), matched, strict=True)
    for side, (name, points, size, seen) in enumerate(sides):
        suspicion = judge(points, size, "centre")
        if suspicion.outside:
            found.add("warning", "outside", f"{name} in {names_of(*pair[:2])} ({suspicion.outside} points)")
        centres = points[reference == side]
        if suspicion.half_pixel or (seen is not None and _beside_cells(centres, size, seen)):
            odd.add(name)
    return odd


def _beside_cells(points: NDArray[np.float32], size: tuple[int, int], matched: tuple[int, int]) -> bool:
    """Whether points (M, 2) become exact centres of cells only after a shift by half a pixel either way."""
    if not len(points):
        return False
    scale = np.array(matched) / np.array(size)

    def on_cells(shift: float) -> float:
        cells = ((points.astype(np.float64) + shift + 0.5) * scale - CELL / 2) / CELL
        return float((np.abs(cells - np.rint(cells)) * CELL / scale < NEAR).all(1).mean())

    return on_cells(0.0) < 0.5 and max(on_cells(0.5), on_cells(-0.5)) > 0.9


def _check_features(layout: HDF5Leaves, found: Findings) -> Counts:
    """A file of keypoints; how many each image has."""
    counts = {}
    groups = layout.groups()
    for name, leaf in _keypoint_leaves(layout).items():
        points = _read(layout, found, leaf)
        if points is None or not check_keypoints(found, name, points):
            continue
        counts[name] = len(points)
        if points.dtype == np.float16:
            found.add("warning", "float16", name)
        members = groups[leaf.path[:-1]] if layout.kind == "hloc features" else {}
        size = _read(layout, found, members["image_size"]) if "image_size" in members else None
        usable = size is not None and size.shape == (2,) and size.dtype.kind in "iuf" and np.isfinite(size).all()
        known = (int(size[0]), int(size[1])) if size is not None and usable else None
        report_suspicion(found, name, judge(points, known, "centre"))
        descriptors = members.get("descriptors")
        if descriptors is not None and descriptors.shape[-1:] != (len(points),):
            found.add("error", "row-mismatch", f"{name}: {len(points)} keypoints, descriptors {descriptors.shape}")
    check_names(found, counts, "error")
    return counts


def _keypoint_leaves(layout: HDF5Leaves) -> dict[str, Leaf]:
    if layout.kind == "imc keypoints":
        return {"/".join(leaf.path): leaf for leaf in layout.leaves}
    return {"/".join(leaf.path[:-1]): leaf for leaf in layout.leaves if leaf.path[-1] == "keypoints"}


def _find_keypoints(others: Iterable[Path], wanted: Sequence[Kind], alive: Callable[[], None]) -> Counts | None:
    """Keypoints by image, from the first file of the first kind in `wanted`, else of the second kind."""
    found: dict[Kind, Counts] = {}
    for path in others:
        try:
            with closing(HDF5Leaves(path, alive)) as layout:
                if layout.kind in wanted and layout.kind not in found:
                    leaves = _keypoint_leaves(layout).items()
                    found[layout.kind] = {name: leaf.shape[0] for name, leaf in leaves if leaf.shape}
        except UnreadableError:
            continue
        if wanted[0] in found:
            break
    return next((found[kind] for kind in wanted if kind in found), None)


def _check_hloc(layout: HDF5Leaves, found: Findings, counts: Counts | None) -> list[PairCount]:
    """hloc's matches, before (keypoints0, ...) or after (matches0, ...) its assignment; the pairs."""
    names = {name.replace("/", "-"): name for name in counts or ()}
    assigned = any(leaf.path[-1] == "matches0" for leaf in layout.leaves)
    if counts is None and assigned:
        found.add("note", "no-keypoints")
    pairs = []
    for path, members in layout.groups().items():
        if not {"matches0", "keypoints0"} & members.keys():
            continue
        dashed = _hloc_names(path, names)
        pair = (names.get(dashed[0], dashed[0]), names.get(dashed[1], dashed[1]))
        if counts is not None:
            _check_known(found, pair, counts)
        rows = [None if counts is None else counts.get(name) for name in pair]
        if "matches0" in members:
            count = _assigned(layout, found, names_of(*pair), members, rows)
        else:
            count = _unassigned(layout, found, names_of(*pair), members)
        pairs.append(PairCount(*pair, count))
    return pairs


def _hloc_names(path: tuple[str, ...], known: dict[str, str]) -> tuple[str, str]:
    """The two (dashed) names of a group: NAME0/NAME1, or NAME0_NAME1 as hloc once wrote."""
    if len(path) >= 2:
        return path[0], "/".join(path[1:])
    key = path[0] if path else ""
    cuts = [at for at, letter in enumerate(key) if letter == "_"]
    found = next((at for at in cuts if key[:at] in known and key[at + 1 :] in known), None)
    found = next((at for at in cuts if "." in key[:at]), cuts[0] if cuts else None) if found is None else found
    return (key, key) if found is None else (key[:found], key[found + 1 :])


def _assigned(layout: HDF5Leaves, found: Findings, pair: str, members: dict[str, Leaf], rows: list[int | None]) -> int:
    matches0 = _read(layout, found, members["matches0"])
    if matches0 is None:
        return 0
    if matches0.ndim != 1 or matches0.dtype.kind not in "iu":
        found.add("error", "bad-array", f"{pair}: matches0 is {matches0.dtype} {matches0.shape}")
        return 0
    scores = members.get("matching_scores0")
    if scores is None or scores.shape != matches0.shape:
        found.add("error", "bad-array", f"{pair}: matching_scores0 {'is missing' if scores is None else scores.shape}")
    if (matches0.astype(np.int64) < -1).any():
        found.add("error", "index-range", f"{pair}: {int(matches0.min())}")
        return 0
    # hloc itself cuts matches0 off behind the last match, so a shorter one is whole.
    index = np.flatnonzero(matches0.astype(np.int64) >= 0)
    check_indices(found, pair, np.column_stack([index, matches0[index].astype(np.int64)]), *rows)
    return len(index)


def _unassigned(layout: HDF5Leaves, found: Findings, pair: str, members: dict[str, Leaf]) -> int:
    shapes = []
    for name in ("keypoints0", "keypoints1"):
        points = _read(layout, found, members[name]) if name in members else np.zeros(0)
        if points is None:
            return 0
        if points.shape != (0,) and not check_keypoints(found, f"{pair}, {name}", points):
            return 0
        shapes.append(len(points))
    if shapes[0] != shapes[1]:
        found.add("error", "bad-array", f"{pair}: {shapes[0]} keypoints0 and {shapes[1]} keypoints1")
    return shapes[0]


def _check_imc(layout: HDF5Leaves, found: Findings, counts: Counts | None) -> list[PairCount]:
    """matches.h5 of kornia and Kaggle: NAME0/NAME1 -> (M, 2) indices; the pairs."""
    if counts is None:
        found.add("note", "no-keypoints")
    pairs = []
    for leaf in layout.leaves:
        pair = _imc_names(leaf.path, counts or {})
        matches = _read(layout, found, leaf)
        if matches is None:
            continue
        if matches.ndim != 2 or matches.shape[1] != 2 or matches.dtype.kind not in "iu":
            found.add("error", "bad-array", f"{names_of(*pair)}: {matches.dtype} {matches.shape}")
            continue
        if counts is not None:
            _check_known(found, pair, counts)
        rows = [None if counts is None else counts.get(name) for name in pair]
        check_indices(found, names_of(*pair), matches, *rows)
        pairs.append(PairCount(*pair, len(matches)))
    return pairs


def _imc_names(path: tuple[str, ...], known: Counts) -> tuple[str, str]:
    """Both names hold "/" where photos lie in folders: cut where two known ones meet, else behind a file name."""
    cuts = [("/".join(path[:at]), "/".join(path[at:])) for at in range(1, len(path))]
    best = [cut for cut in cuts if cut[0] in known and cut[1] in known]
    best += [cut for cut in cuts if "." in cut[0].rsplit("/", 1)[-1]]
    return (*best, *cuts, (path[0], path[0]))[0]


def _check_known(found: Findings, pair: tuple[str, str], counts: Counts) -> None:
    for name in pair:
        if name not in counts:
            found.add("error", "unknown-image", f"{name} in {names_of(*pair)}")


def _read(layout: HDF5Leaves, found: Findings, leaf: Leaf) -> NDArray[np.generic] | None:
    try:
        return layout.read(leaf)
    except DAMAGE as error:
        found.add("error", "damaged", f"{'/'.join(leaf.path)} ({first_line(error)})")
        return None
