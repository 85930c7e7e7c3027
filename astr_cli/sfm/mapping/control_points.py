"""Ground control points: reading a file in OpenDroneMap's format, and which of them only check the model.

The format: https://docs.opendronemap.org/gcp/. The first line is the coordinate system; every other line is
`x y z pixel_x pixel_y photo [name]`, pixels from the top-left corner of the stored photo, as COLMAP counts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.sfm.mapping.coordinates import Coordinates, coordinates

COLUMNS = 6
LEAST = 3  # points that fix a similarity
THIRD = 3  # every third point by name checks


class ControlError(AstrError):
    """A file of control points that cannot be used."""


class ControlPoint(NamedTuple):
    """A point of known position."""

    name: str
    position: tuple[float, float, float]
    """Metres east, north and up in the coordinate system of the file."""
    marks: tuple[tuple[str, float, float], ...]
    """Photo and COLMAP's pixels, by photo."""
    checks: bool = False
    """Whether it only checks the model."""


class ControlFile(NamedTuple):
    """The content of a file of control points."""

    system: Coordinates
    points: tuple[ControlPoint, ...]
    """By name."""


def read_control(path: Path, check: str | None = None) -> ControlFile:
    """Reads a file. check: names of check points, separated by commas; None: every third, while three others are left.

    Raises ControlError: the file is missing or broken, or has fewer than three control points.
    """
    lines = [(number, line.strip()) for number, line in enumerate(_text(path).splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        raise ControlError(f"{path}: is empty; the first line names the coordinate system, such as EPSG:32632")
    system = coordinates(lines[0][1], f"{path}:{lines[0][0]}")
    found: dict[str, tuple[tuple[float, float, float], dict[str, tuple[float, float]]]] = {}
    for number, line in lines[1:]:
        position, pixel, photo, name = _row(line, f"{path}:{number}")
        key = name or " ".join(f"{value:g}" for value in position)
        before, marks = found.setdefault(key, (position, {}))
        if before != position:
            raise ControlError(f"{path}:{number}: point {key} has another position than before; give it another name")
        if marks.setdefault(photo, pixel) != pixel:
            raise ControlError(f"{path}:{number}: point {key} has two places in {photo}; remove one of the lines")
    if found:
        system = system.for_place(next(iter(found.values()))[0])
    return ControlFile(system, _chosen(path, _points(found, system), check))


def _text(path: Path) -> str:
    if not path.is_file():
        raise ControlError(f"{path}: no such file; --gcp takes a text file of control points")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ControlError(f"{path}: cannot be read as text in UTF-8 ({error}); save it as such") from None


def _row(line: str, where: str) -> tuple[tuple[float, float, float], tuple[float, float], str, str]:
    """Position, pixel, photo and name (may be empty) of a line."""
    words = [word.strip() for word in line.split("\t")] if "\t" in line else line.split()
    if len(words) < COLUMNS:
        raise ControlError(f"{where}: has {len(words)} columns; give x y z pixel_x pixel_y photo [name]")
    try:
        x, y, z, across, down = (float(word) for word in words[:5])
    except ValueError:
        raise ControlError(f"{where}: the first five columns are numbers: x y z pixel_x pixel_y") from None
    if not all(math.isfinite(value) for value in (x, y, z, across, down)):
        raise ControlError(f"{where}: NaN or infinity is no position; OpenDroneMap's format needs x, y and z")
    return (x, y, z), (across, down), words[5], words[6] if len(words) > COLUMNS else ""


def _points(
    found: Mapping[str, tuple[tuple[float, float, float], Mapping[str, tuple[float, float]]]], system: Coordinates
) -> list[ControlPoint]:
    """The points in metres, by name."""
    names = sorted(found)
    metres = system.metres([found[name][0] for name in names])
    return [
        ControlPoint(name, position, tuple((photo, *pixel) for photo, pixel in sorted(found[name][1].items())))
        for name, position in zip(names, metres, strict=True)
    ]


def _chosen(path: Path, points: list[ControlPoint], check: str | None) -> tuple[ControlPoint, ...]:
    """The points with those marked that only check."""
    names = [point.name for point in points]
    if check is None:
        wanted = set(names[THIRD - 1 :: THIRD][: max(0, len(names) - LEAST)])
    else:
        wanted = {name.strip() for name in check.split(",") if name.strip()}
        unknown = sorted(wanted - set(names))
        if unknown:
            raise ControlError(f"--gcp-check {unknown[0]}: {path} has no such point; it has {', '.join(names[:10])}")
    if len(points) - len(wanted) < LEAST:
        raise ControlError(
            f"{path}: has {len(points) - len(wanted)} control points beside {len(wanted)} check points, and at least "
            f"{LEAST} are needed"
        )
    return tuple(point._replace(checks=point.name in wanted) for point in points)


def unknown_photos(points: Iterable[ControlPoint], names: Iterable[str]) -> tuple[str, ...]:
    """Photos of marks that are none of `names`, sorted."""
    known = set(names)
    return tuple(sorted({photo for point in points for photo, *_ in point.marks} - known))
