"""The pictures of `astr explain`: figures 3 and 4 of the paper for two photos, and more of the kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from astr_cli.model.coarse import Fate
from astr_cli.report.explaining import CELL, Explanation, FineLook, PointLook, Round

HEIGHT = 340  # pixels of a panel's photo
TITLE = 26
GAP = 6
HEAT = cv2.COLORMAP_INFERNO
WINDOWS = 120  # drawn of all matches, evenly spread
PATCH = 168  # pixels of a drawn window
AROUND = 2.0  # half-widths of the first window that its patch shows
# BGR
WHITE, POINT, SEED, OWN, FOUND, WINDOW = (
    (255, 255, 255),
    (80, 220, 60),
    (255, 200, 40),
    (60, 220, 80),
    (255, 120, 255),
    (255, 200, 40),
)
FATES = {
    Fate.MATCHED: ("matched", (80, 190, 60)),
    Fate.NOT_MUTUAL: ("no mutual maximum", (60, 60, 220)),
    Fate.BELOW_THRESHOLD: ("below the threshold", (40, 160, 240)),
    Fate.BORDER: ("too close to the border", (190, 120, 90)),
    Fate.MASKED: ("masked", (150, 90, 150)),
}

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]


class Canvas:
    """A photo as the network saw it, enlarged or shrunk to HEIGHT; places are in matched pixels."""

    def __init__(self, gray: NDArray[np.float32], height: int = HEIGHT) -> None:
        self.scale = height / gray.shape[0]
        size = round(gray.shape[1] * self.scale), height
        way = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(gray, size, interpolation=way)
        self.picture = _coloured(small)

    def overlay(self, cells: Floats) -> Canvas:
        """Heat of (h, w) cells from 0 to their largest, over the dimmed photo."""
        share = np.sqrt(cells / max(float(cells.max()), 1e-12))
        size = self.picture.shape[1], self.picture.shape[0]
        spread = cv2.resize(share.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
        heat = cv2.applyColorMap(np.rint(255 * spread).astype(np.uint8), HEAT)
        alpha = np.clip(1.3 * spread, 0, 0.9)[..., None]
        self.picture = np.rint(0.6 * self.picture * (1 - alpha) + heat * alpha).astype(np.uint8)
        return self

    def square(self, centre: Floats, half: float, colour: tuple[int, int, int], thick: int = 1) -> None:
        """A square around a place."""
        low, high = self._at(centre - half), self._at(centre + half)
        cv2.rectangle(self.picture, low, high, colour, thick, cv2.LINE_AA)

    def dot(self, place: Floats, colour: tuple[int, int, int], radius: int = 4) -> None:
        """A dot with a dark rim."""
        cv2.circle(self.picture, self._at(place), radius + 1, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(self.picture, self._at(place), radius, colour, -1, cv2.LINE_AA)

    def _at(self, place: Floats) -> tuple[int, int]:
        x, y = (np.asarray(place) + 0.5) * self.scale - 0.5
        return round(float(x)), round(float(y))


def draw_point(found: Explanation, point: PointLook) -> Picture:
    """Figure 3 of the paper: where the first layer looks, and where each round of spots does."""
    gray0, gray1 = found.look.grays
    width0, width1 = (grid[1] for grid in found.look.kept.grids)
    own = Canvas(gray0)
    for seed in {int(seed) for each in point.rounds[-1:] for seed in each.seeds}:
        own.dot(_centre(seed, width0), SEED, 3)
    own.dot(_centre(point.cell, width0), POINT)
    first = Canvas(gray1).overlay(point.plain)
    panels = [
        _titled(own.picture, "photo 1: point (green), last seeds (blue)"),
        _titled(first.picture, "first layer: looks everywhere"),
    ]
    window = found.look.kept.config.window
    for number, each in enumerate(point.rounds, 1):
        panels.append(_titled(_round(gray1, each, width1, window), f"round {number}: confidence {each.confidence:.2f}"))
    return _rows([panels[start : start + 3] for start in range(0, len(panels), 3)])


def _round(gray: NDArray[np.float32], each: Round, width: int, window: int) -> Picture:
    canvas = Canvas(gray).overlay(each.attention)
    for rank, centre in reversed(list(enumerate(each.centres))):
        if centre >= 0:
            canvas.square(
                _centre(int(centre), width), window * CELL / 2, OWN if rank == 0 else WINDOW, 2 if rank == 0 else 1
            )
    return canvas.picture


def draw_confidence(found: Explanation) -> Picture:
    """The largest entry of the matching matrix for every cell of the first photo, round by round."""
    panels = []
    for number, cells in enumerate(found.confidences, 1):
        name = f"round {number}" if number < len(found.confidences) else "final"
        size = found.look.grays[0].shape
        picture = _heat(cells, (round(HEIGHT * size[1] / size[0]), HEIGHT))
        panels.append(
            _titled(picture, f"{name}: mean {cells.mean():.2f}, over the threshold {_over(found, cells):.0%}")
        )
    photo = _titled(Canvas(found.look.grays[0]).picture, "photo 1")
    return _rows([[photo, *panels][start : start + 3] for start in range(0, len(panels) + 1, 3)])


def _over(found: Explanation, cells: Floats) -> float:
    return float((cells > found.look.kept.settings.threshold).mean())


def draw_scaling(found: Explanation) -> Picture:
    """Figure 4 of the paper: the windows of the fine stage on both photos, coloured by the scale ratio."""
    limit = np.log(max(1.5, float(np.exp(np.abs(np.log(found.ratios))).max(initial=1.0))))
    rows = np.linspace(0, len(found.ratios) - 1, min(WINDOWS, len(found.ratios))).round().astype(int)
    colours = cv2.applyColorMap(
        np.rint(127.5 + 127.5 * np.log(found.ratios[rows]) / limit).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO
    )
    panels = []
    for side, (gray, centres, reaches) in enumerate(zip(found.look.grays, found.centres, found.reaches, strict=True)):
        canvas = Canvas(gray, 2 * HEIGHT)
        canvas.picture = np.rint(0.7 * canvas.picture).astype(np.uint8)
        for row, colour in zip(rows, colours[:, 0] if len(rows) else (), strict=True):
            canvas.square(centres[row], float(reaches[row]), _bgr(colour), 2)
        panels.append(
            _titled(canvas.picture, f"photo {side + 1}: windows of {len(rows)} of {len(found.ratios)} matches")
        )
    return _rows([panels, [_scale_bar(limit, sum(panel.shape[1] for panel in panels) + GAP, found.known)]])


def _bgr(colour: NDArray[np.uint8]) -> tuple[int, int, int]:
    return int(colour[0]), int(colour[1]), int(colour[2])


def _scale_bar(limit: float, width: int, known: bool) -> Picture:
    bar = cv2.applyColorMap(np.linspace(0, 255, width).round().astype(np.uint8)[None].repeat(18, 0), cv2.COLORMAP_TURBO)
    source = (
        "times relative depth (focal lengths known)" if known else "by neighbouring matches (focal lengths unknown)"
    )
    ends = f"scale ratio {np.exp(-limit):.2f} (left) to {np.exp(limit):.2f} (right)"
    return _titled(np.asarray(bar, np.uint8), f"{ends}: size in photo 2 / size in photo 1, {source}")


def draw_fine(found: Explanation) -> Picture | None:
    """The fine stage of each point with a match: both windows, and the heat maps before and after the closer look."""
    rows = [_fine_row(found, point, point.fine) for point in found.points if point.fine is not None]
    return _rows(rows) if rows else None


def _fine_row(found: Explanation, point: PointLook, fine: FineLook) -> list[Picture]:
    gray0, gray1 = found.look.grays
    own = _centre(point.cell, found.look.kept.grids[0][1])
    first = _patch(gray0, own, AROUND * fine.reach[0], [(own, fine.reach[0], POINT)], [(own, POINT)])
    second = _patch(
        gray1,
        fine.start,
        AROUND * fine.reach[1],
        [(fine.start, fine.reach[1], WINDOW), (fine.closer, fine.closer_reach, FOUND)],
        [(fine.found, FOUND)],
    )
    size = (PATCH, PATCH)
    return [
        _titled(first, f"ratio {fine.ratio:.2f}"),
        _titled(second, "windows, result"),
        _titled(_heat(fine.before, size), f"before, {fine.before.max():.2f}"),
        _titled(_heat(fine.after, size), f"closer, {fine.after.max():.2f}"),
    ]


def _patch(
    gray: NDArray[np.float32],
    centre: Floats,
    half: float,
    squares: Sequence[tuple[Floats, float, tuple[int, int, int]]],
    dots: Sequence[tuple[Floats, tuple[int, int, int]]],
) -> Picture:
    """The surroundings of a place, enlarged to PATCH, with squares and dots at matched pixels."""
    scale = PATCH / (2 * half)
    shift = PATCH / 2 - 0.5 - scale * centre
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    cut = cv2.warpAffine(gray, matrix, (PATCH, PATCH), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    picture = _coloured(cut)
    for place, reach, colour in squares:
        low, high = (tuple(np.rint(scale * (place + sign * reach) + shift).astype(int).tolist()) for sign in (-1, 1))
        cv2.rectangle(picture, low, high, colour, 1, cv2.LINE_AA)
    for place, colour in dots:
        x, y = np.rint(scale * place + shift).astype(int).tolist()
        cv2.drawMarker(picture, (x, y), colour, cv2.MARKER_CROSS, 12, 2, cv2.LINE_AA)
    return picture


def draw_fates(found: Explanation) -> Picture:
    """Every cell of the first photo: matched, or where its match was lost."""
    canvas = Canvas(found.look.grays[0], 2 * HEIGHT)
    size = canvas.picture.shape[1], canvas.picture.shape[0]
    colours = np.zeros((*found.fates.shape, 3), np.uint8)
    lines = []
    for fate, (name, colour) in FATES.items():
        colours[found.fates == fate] = colour
        lines.append((f"{name}: {int((found.fates == fate).sum())}", colour))
    spread = cv2.resize(colours, size, interpolation=cv2.INTER_NEAREST)
    picture = np.rint(0.5 * canvas.picture + 0.5 * spread).astype(np.uint8)
    titled = _titled(picture, "")
    for number, (text, colour) in enumerate(lines):
        _write(titled, text, 8 + number * size[0] // len(lines), colour)
    return titled


def _heat(cells: Floats, size: tuple[int, int]) -> Picture:
    """(h, w) values from 0 to 1, or to their largest if that is less than 1, as colours."""
    share = np.sqrt(np.clip(cells / max(float(cells.max()), 1e-12), 0, 1))
    spread = cv2.resize(share.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.applyColorMap(np.rint(255 * spread).astype(np.uint8), HEAT), np.uint8)


def _coloured(gray: NDArray[Any]) -> Picture:
    """BGR of grey values in [0, 1]."""
    return np.rint(255 * np.clip(gray, 0, 1)).astype(np.uint8)[..., None].repeat(3, axis=2)


def _centre(cell: int, width: int) -> Floats:
    """Matched pixels."""
    return np.array([cell % width, cell // width], np.float64) * CELL + (CELL - 1) / 2


def _titled(picture: Picture, text: str) -> Picture:
    titled = np.full((picture.shape[0] + TITLE, picture.shape[1], 3), 30, np.uint8)
    titled[TITLE:] = picture
    _write(titled, text, 6, WHITE)
    return titled


def _write(picture: Picture, text: str, left: int, colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, (left, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


def _rows(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Pictures side by side, rows below each other, on a light ground."""
    lines = [_joined(row, 1) for row in rows]
    return _joined(lines, 0)


def _joined(pictures: Sequence[Picture], axis: int) -> Picture:
    across = max(picture.shape[1 - axis] for picture in pictures)
    return np.concatenate(list(_spaced(pictures, axis, across)), axis)


def _spaced(pictures: Sequence[Picture], axis: int, across: int) -> Iterator[Picture]:
    for number, picture in enumerate(pictures):
        shape = [0, 0, 3]
        shape[axis], shape[1 - axis] = picture.shape[axis] + (GAP if number else 0), across
        canvas = np.full(shape, 245, np.uint8)
        canvas[
            tuple(slice(-size, None) if k == axis else slice(0, size) for k, size in enumerate(picture.shape[:2]))
        ] = picture
        yield canvas
