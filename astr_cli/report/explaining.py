"""What the network did with two photos, for chosen points of the first one: from what the model kept, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from astr_cli.errors import AstrError
from astr_cli.matching.matcher import Look
from astr_cli.model.coarse import Fate, cell_centres
from astr_cli.model.watching import Attention, Kept

CELL = 8  # matched pixels
CHOSEN = 2  # points per axis that astr chooses by itself

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]


class Round(NamedTuple):
    """One look of a cell of image0 at image1."""

    attention: Floats
    """(h1, w1) share of each cell of image1 in the message; they add up to 1, or to 0 without a spot."""
    centres: Cells
    """(1 + k,) centres of the windows in image1, flat cells, -1 = none."""
    seeds: Cells
    """(k,) neighbours of the cell whose best matches the last k centres are."""
    partner: int
    """The best match of the cell so far, a flat cell of image1."""
    confidence: float
    """Its entry of the matching matrix of this round."""


class FineLook(NamedTuple):
    """The fine stage of one match: image1 is searched while the point of image0 rests."""

    ratio: float
    """Size in image1 over size in image0."""
    reach: tuple[float, float]
    """Half-widths of the windows in image0 and in image1, matched pixels."""
    start: Floats
    """(2,) centre of the first window in image1, matched pixels."""
    before: Floats
    """(side, side) heat map of the whole window."""
    closer: Floats
    """(2,) centre of the closer window."""
    closer_reach: float
    after: Floats
    """(side, side) heat map of the closer window."""
    found: Floats
    """(2,) the result, matched pixels."""


class PointLook(NamedTuple):
    """One point of image0."""

    at: Floats
    """(2,) pixels of the raw photo."""
    cell: int
    plain: Floats
    """(h1, w1) attention of the first layer, which looks everywhere."""
    rounds: tuple[Round, ...]
    partner: int
    score: float
    """Of the final matching matrix."""
    fate: Fate
    fine: FineLook | None
    """None: the cell has no coarse match."""
    match: Floats | None
    """(2,) the matched point of image1, pixels of the raw photo; None: the cell has no match."""


class Explanation(NamedTuple):
    """What the network did with two photos."""

    look: Look
    points: tuple[PointLook, ...]
    confidences: tuple[Floats, ...]
    """Of each round and of the final matching matrix: (h0, w0) the largest entry of each cell of image0."""
    fates: NDArray[np.uint8]
    """(h0, w0) `Fate`."""
    centres: tuple[Floats, Floats]
    """(M, 2) matched pixels of the coarse matches in both images."""
    ratios: Floats
    """(M,)."""
    reaches: tuple[Floats, Floats]
    """(M,) half-widths of the windows in both images, matched pixels."""
    known: bool
    """Whether the focal lengths of both photos are known, so that ratios can come from depths."""


def explain(look: Look, at: Sequence[tuple[float, float]]) -> Explanation:
    """at: points of image0, pixels of the raw photo; without any, astr chooses some.

    Raises AstrError: a point outside of the photo.
    """
    kept, (height, width) = look.kept, look.kept.grids[0]
    best, rounds = kept.best, kept.aggregated[0].rounds
    matrices = [*(each.matching.best()[0].log_p[0] for each in rounds), best[0].log_p]
    fates = _fates(look).reshape(height, width)
    cells = _cells_of(look, at) if at else _chosen(look, fates)
    plain = _attentions(kept.plain[0], cells, kept.grids[1])
    spots = [_attentions(each, cells, kept.grids[1]) for each in kept.spots]
    coarse = kept.coarse
    ends = [cell_centres(side, kept.grids[k][1]) for k, side in enumerate((coarse.cells0, coarse.cells1))]
    points = tuple(
        _point(look, cell, Fate(int(fates.flat[cell])), plain[k], [each[k] for each in spots], at[k] if at else None)
        for k, cell in enumerate(cells)
    )
    return Explanation(
        look=look,
        points=points,
        confidences=tuple(np.exp(_floats(log_p)).reshape(height, width) for log_p in matrices),
        fates=fates,
        centres=(_floats(ends[0]), _floats(ends[1])),
        ratios=_floats(kept.rows(lambda windows, _: windows.ratios)) if len(coarse.scores) else np.zeros(0),
        reaches=(_reach(kept, 0), _reach(kept, 1)),
        known=look.pair.view0.intrinsics is not None and look.pair.view1.intrinsics is not None,
    )


def raw_places(look: Look, side: int, cells: Cells) -> Floats:
    """(M, 2) pixels of the raw photo of flat cells of image0 or image1."""
    view = (look.pair.view0, look.pair.view1)[side]
    centres = cell_centres(torch.from_numpy(cells), look.kept.grids[side][1]).numpy()
    return view.to_raw(centres).astype(np.float64)


def _fates(look: Look) -> NDArray[np.uint8]:
    """(N0,) `Fate`, with the masks of the raw photos, which are finer than those of the cells."""
    fates = look.kept.fates.cpu().numpy()
    cells = look.kept.coarse.cells0.cpu().numpy()
    if len(cells):
        fates[cells[~look.stays.reshape(-1, len(cells)).any(axis=0)]] = Fate.MASKED
    return fates


def _floats(tensor: torch.Tensor) -> Floats:
    return tensor.detach().double().cpu().numpy()


def _attentions(attention: Attention, cells: Sequence[int], grid: tuple[int, int]) -> Floats:
    """(len(cells), h1, w1)."""
    rows = torch.tensor(cells, device=attention.query.device)
    return _floats(attention.weights(rows)).reshape(len(cells), *grid)


def _reach(kept: Kept, side: int) -> Floats:
    if not kept.refined:
        return np.zeros(0)
    return _floats(kept.rows(lambda _, refined: refined.first[side].reach[:, 0]))


def _cells_of(look: Look, at: Sequence[tuple[float, float]]) -> list[int]:
    """The cells of points of the raw photo."""
    size, (height, width) = look.pair.view0.size, look.kept.grids[0]
    for x, y in at:
        if not (-0.5 <= x <= size[0] - 0.5 and -0.5 <= y <= size[1] - 0.5):
            raise AstrError(f"--at {x:g},{y:g}: outside of the first photo, which has {size[0]}x{size[1]} pixels")
    matched = look.pair.view0.from_raw(np.array(at, np.float32))
    columns, rows = np.floor((matched + 0.5) / CELL).astype(int).T
    found = np.clip(rows, 0, height - 1) * width + np.clip(columns, 0, width - 1)
    return [int(cell) for cell in found]


def _chosen(look: Look, fates: NDArray[np.uint8]) -> list[int]:
    """The matched cell with the most contrast in each part of image0; a cell that was lost where none was matched."""
    height, width = fates.shape
    gray = look.grays[0][: height * CELL, : width * CELL]
    contrast = gray.reshape(height, CELL, width, CELL).std(axis=(1, 3)) + (fates == Fate.MATCHED)
    # The edge of a mask is no contrast of the photo.
    contrast[cv2.dilate((fates == Fate.MASKED).astype(np.uint8), np.ones((3, 3))) > 0] = 0
    contrast[:2], contrast[-2:], contrast[:, :2], contrast[:, -2:] = 0, 0, 0, 0
    found = []
    for rows in np.array_split(np.arange(height), CHOSEN):
        for columns in np.array_split(np.arange(width), CHOSEN):
            part = contrast[np.ix_(rows, columns)]
            row, column = np.unravel_index(int(part.argmax()), part.shape)
            found.append(int(rows[row] * width + columns[column]))
    return found


def _point(
    look: Look, cell: int, fate: Fate, plain: Floats, spots: Sequence[Floats], at: tuple[float, float] | None
) -> PointLook:
    kept = look.kept
    rounds = []
    for attention, each in zip(spots, kept.aggregated[0].rounds, strict=True):
        best = each.matching.best()[0]
        rounds.append(
            Round(
                attention,
                each.centres0[0, cell].cpu().numpy(),
                each.seeds0[0, cell].cpu().numpy(),
                int(best.cells[0, cell]),
                float(best.log_p[0, cell].exp()),
            )
        )
    rows = torch.nonzero(kept.coarse.cells0 == cell)[:, 0].tolist()
    return PointLook(
        at=raw_places(look, 0, np.array([cell]))[0] if at is None else np.array(at, np.float64),
        cell=cell,
        plain=plain,
        rounds=tuple(rounds),
        partner=int(kept.best[0].cells[cell]),
        score=float(kept.best[0].log_p[cell].exp()),
        fate=fate,
        fine=_fine(kept, rows[0]) if rows else None,
        match=_match(look, rows[0]) if rows else None,
    )


def _match(look: Look, row: int) -> Floats | None:
    """The point of image1 in the first row of a coarse match that the masks keep."""
    rows = [each for each in range(row, len(look.found), len(look.kept.coarse.scores)) if look.stays[each]]
    return look.found.keypoints1[rows[0]].astype(np.float64) if rows else None


def _fine(kept: Kept, row: int) -> FineLook:
    """Of the coarse match `row`."""
    block, k = divmod(row, len(kept.windows[0].ratios))
    windows, refined = kept.windows[block], kept.refined[block]
    first, last = refined.first[1], refined.last[1]
    side = kept.config.fine_tokens
    centre = _floats(windows.points1[k])
    return FineLook(
        ratio=float(windows.ratios[k]),
        reach=(float(refined.first[0].reach[k, 0]), float(first.reach[k, 0])),
        start=centre + _floats(first.start[k]),
        before=np.exp(_floats(first.log_heat[k])).reshape(side, side),
        closer=centre + _floats(last.start[k]),
        closer_reach=float(last.reach[k, 0]),
        after=np.exp(_floats(last.log_heat[k])).reshape(side, side),
        found=centre + _floats(last.offsets[k]),
    )
