"""What a surveyor has to know of a model: intrinsics, scale, heights and tilt, and whether to trust them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from astr_cli.cli.sfm_output import LISTED
from astr_cli.sfm.mapping.intrinsics import PLAUSIBLE
from astr_cli.wording import counted, listed

if TYPE_CHECKING:
    from astr_cli.sfm.mapping.camera_changes import CameraFigures
    from astr_cli.sfm.mapping.camera_models import ModelChoice
    from astr_cli.sfm.mapping.control_adjustment import Control
    from astr_cli.sfm.mapping.georeference import Georeference
    from astr_cli.sfm.mapping.heights import Heights
    from astr_cli.sfm.mapping.precision import Precision


def hold_text(camera: CameraFigures) -> str:
    """What was held of a known camera and why, and the result of the other choice; empty for other cameras."""
    hold = camera.hold
    if hold.other_focal is None:
        return ""
    source = "the given camera" if hold.given else "EXIF"
    depth = "" if hold.other_depth is None else f", and points {hold.other_depth:.2f} times the distance"
    other = f"{hold.other_focal:.0f} px{depth}"
    if hold.held == "nothing":
        return f"; refined; held as in {source} it would be {other}"
    what = "held as given" if hold.given else f"{'' if hold.held == 'all' else 'focal length '}held as in EXIF"
    return f"; {what}{f': {hold.reason}' if hold.reason else ''}; refined it would be {other}"


def place_text(place: Georeference, heights: Heights | None = None, cameras: Sequence[CameraFigures] = ()) -> str:
    """The directions of the axes, and how far the scale, the heights and the tilt can be trusted."""
    height = "height unknown" if place.level else f"{place.altitude:.1f} m"
    where = f"{place.latitude:.7f}, {place.longitude:.7f}, {height}"
    doubts = list(_doubts(heights, cameras))
    if doubts:
        return f"placed by GPS around {where}, but do not measure in it: {'; '.join(doubts)}"
    fit = f"{place.within} of {place.photos} photos within 10 m of their GPS position"
    if not place.upright:
        return (
            f"in metres around {where}, but its tilt is arbitrary, so z is not the height: the photos were taken along "
            f"a line, and GPS does not determine the rotation about that line; {fit}; {_scale(place)}"
            f"{_heights(heights)}"
        )
    level = "; no photo has an altitude, so astr took all photos to be at one height" if place.level else ""
    tilt = "; tilt about the line of flight from the gimbal's angles" if place.on_a_line else ""
    axes = "" if place.grid is None else f"; axes of {place.grid.system}, reduced by the offset in georeference.json"
    return f"in metres east, north and up from {where}{axes}; {fit}; {_scale(place)}{_heights(heights)}{tilt}{level}"


def camera_model_text(choice: ModelChoice) -> str:
    """The camera model that the photos chose, and the gain."""
    if not choice.observations:
        return f"camera model {choice.before}: too few observations to try a richer one"
    held = f"at {counted(choice.observations, 'observation')} held back"
    if choice.model == choice.before:
        return f"camera model {choice.before}: {choice.error:.3f} px {held}; a richer model predicts no better"
    before = f"{choice.error_before:.3f} px with {choice.before}"
    return f"camera model {choice.model}: {choice.error:.3f} px {held}, instead of {before}"


def control_text(control: Control, heights: Heights | None, cameras: Sequence[CameraFigures]) -> str:
    """The coordinate system, and the residuals of control and check points."""
    offset = " ".join(f"{value:.0f}" for value in control.offset)
    parts = [f"in metres of {control.system}, reduced by {offset}"]
    for checks, name in ((False, "control points"), (True, "check points")):
        count, plane, height = control.rms(checks)
        if count:
            parts.append(f"{count} {name}, RMS {plane:.3f} m in the plane and {height:.3f} m vertically")
    doubts = list(_doubts(heights, cameras))
    if not control.rms(True)[0]:
        parts.append("no check points, so nothing tells the accuracy")
    return "; ".join([*parts, *(f"but {doubt}" for doubt in doubts)])


def control_table(control: Control) -> Table:
    """The residuals of each point, metres."""
    table = Table("point", "use", title="control points: the model minus the known position")
    for heading in ("photos", "east", "north", "up", "pixels"):
        table.add_column(heading, justify="right")
    for each in control.residuals:
        values = [f"{value:.3f}" if value is not None else "" for value in (each.east, each.north, each.up)]
        pixels = "" if each.pixels is None else f"{each.pixels:.2f}"
        table.add_row(each.name, "check" if each.checks else "control", str(each.marks), *values, pixels)
    return table


def precision_text(found: Precision) -> str:
    """The ground sample distance and the standard deviations of points; in what frame."""
    east, north, up = found.points
    frame = "relative to two photos" if found.frame == "two photos" else f"in the frame of {found.frame}"
    return (
        f"ground sample distance {found.gsd:.3g} m; points known to {east:.3f} m east, {north:.3f} m north and "
        f"{up:.3f} m vertically (standard deviations in the median, {frame}, without systematic errors)"
    )


def precision_warnings(found: Precision) -> Iterator[str]:
    """Photos that are much less precise than the others."""
    weak = found.weak
    if weak:
        named = listed([f"{each.name} ({counted(each.points, 'point')})" for each in weak], LISTED)
        yield (
            f"{counted(len(weak), 'photo')} with few points, or three times less precise than the others: {named}; do "
            "not measure in them"
        )


def _scale(place: Georeference) -> str:
    """The residuals of GPS, and the precision of the scale that they leave."""
    height = f" and {place.up:.2f} m vertically" if place.upright and not place.level else ""
    axes = f"residuals {place.east:.2f} m east, {place.north:.2f} m north{height} (RMS)"
    known = f", scale from GPS to {100 * place.scale_error:.2g}%" if math.isfinite(place.scale_error) else ""
    inside = "; GPS took part in the adjustment" if place.inside else ""
    return f"{axes}{known}{inside}"


def _heights(heights: Heights | None) -> str:
    if heights is None:
        return ""
    return (
        f"; cameras {heights.found:.1f} m above the ground, which agrees with the {heights.told:.1f} m of "
        f"RelativeAltitude within {100 * abs(heights.change):.0f}%"
    )


def _doubts(heights: Heights | None, cameras: Sequence[CameraFigures]) -> Iterator[str]:
    """Why the scale or the heights of a model are wrong."""
    if heights is not None and not heights.consistent:
        yield (
            f"the cameras are {heights.found:.1f} m above the ground, but RelativeAltitude says {heights.told:.1f} m "
            f"above the take-off ({100 * heights.change:+.0f}%)"
        )
    worst = _furthest(cameras)
    if worst is not None:
        yield (
            f"the focal length is {worst.focal:.0f} px, but "
            f"{'the given camera' if worst.hold.given else 'EXIF'} says {worst.prior:.0f} px"
        )


def _furthest(cameras: Sequence[CameraFigures]) -> CameraFigures | None:
    """The refined camera whose focal length is furthest from a known one; None: all are plausible."""
    found = [each for each in cameras if each.known and each.hold.held == "nothing"]
    worst = max(found, key=lambda each: abs(each.focal / each.prior - 1), default=None)
    return worst if worst is not None and abs(worst.focal / worst.prior - 1) > PLAUSIBLE else None


def place_warnings(place: Georeference, heights: Heights | None = None) -> Iterator[str]:
    """A free tilt, positions far away, and heights that contradict the drone's."""
    if not place.upright:
        yield (
            "the photos were taken along a line, so the model's tilt about it is arbitrary; add photos taken beside "
            "the line, or level the model with points on the ground"
        )
    if place.within < place.photos:
        yield f"{place.photos - place.within} of {place.photos} photos lie more than 10 m from their GPS position"
    if heights is not None and not heights.consistent:
        yield (
            f"heights of the model are wrong, unless the ground is {'lower' if heights.change > 0 else 'higher'} than "
            f"the take-off by as much: the cameras are {heights.found:.1f} m above the ground, and RelativeAltitude "
            f"says {heights.told:.1f} m; use --intrinsics auto, or give the camera with --camera-params"
        )


def intrinsics_warnings(cameras: Sequence[CameraFigures]) -> Iterator[str]:
    """A refined focal length that contradicts what was known of it."""
    worst = _furthest(cameras)
    if worst is None:
        weak = next((each for each in cameras if each.hold.held == "nothing" and each.hold.reason), None)
        if weak is not None:
            yield (
                f"camera {weak.number} ({weak.first}): its focal length was refined, but {weak.hold.reason}, so "
                "heights and distances of the model are weak; use --intrinsics auto"
            )
        return
    if worst.astray:  # which is a warning of its own
        return
    hold = worst.hold
    why = f" ({hold.reason})" if hold.reason else ""
    depth = "" if hold.other_depth is None else f"; with it, points have {hold.other_depth:.2f} times the distance"
    advice = (
        "use --intrinsics auto" if hold.reason else "check that the photos are not cropped, or use --intrinsics fixed"
    )
    yield (
        f"camera {worst.number} ({worst.first}): the refined focal length of {worst.focal:.0f} px is "
        f"{100 * (worst.focal / worst.prior - 1):+.0f}% off the {worst.prior:.0f} px of "
        f"{'the given camera' if hold.given else 'EXIF'}{why}{depth}; distances and heights of the model may be "
        f"wrong by as much; {advice}"
    )
