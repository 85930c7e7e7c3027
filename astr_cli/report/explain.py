"""`astr explain`: pictures of what the network did with two photos, and one page that shows them."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from astr_cli.errors import AstrError
from astr_cli.files import check_output_folder, write_whole
from astr_cli.images.info import read_info
from astr_cli.images.masks import find_mask_by_path, read_mask
from astr_cli.matching.matcher import Mask, Matcher
from astr_cli.model.coarse import Fate
from astr_cli.options.explain import ExplainOptions
from astr_cli.options.matching import MatchingOptions
from astr_cli.options.option import take
from astr_cli.report.explain_drawing import draw_confidence, draw_fates, draw_fine, draw_point, draw_scaling
from astr_cli.report.explaining import Explanation, PointLook, Round, explain, raw_places
from astr_cli.report.page import check_page, page, write_page

PAGE = "index.html"


class Picture(NamedTuple):
    """A drawing of the page."""

    file: str
    title: str
    text: str
    """A line that explains the drawing."""
    pixels: NDArray[np.uint8]


class Explained(NamedTuple):
    """The result of `write_explanation`."""

    page: Path
    pictures: tuple[Path, ...]
    numbers: dict[str, Any]


def write_explanation(options: ExplainOptions) -> Explained:
    """Matches two photos and writes pictures and a page into a folder.

    Raises AstrError: a photo that cannot be read, a point outside of it, a folder with files of other programs.
    """
    points = options.points
    _check_folder(options.out)
    masks = _read_masks(options)
    look = Matcher.from_options(take(MatchingOptions, options)).look(options.photo0, options.photo1, masks)
    found = explain(look, points)
    pictures = _pictures(found)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for each in pictures:
            write_whole(options.out / each.file, _encoded(each.pixels, ".png"))
    except OSError as error:
        raise AstrError(f"{options.out}: cannot be written ({error.strerror}); choose another --out") from None
    title = f"{options.photo0.name} and {options.photo1.name}"
    write_page(options.out / PAGE, page(title, _body(title, found, pictures), "", {}))
    numbers = {"photo0": str(options.photo0), "photo1": str(options.photo1), **numbers_of(found)}
    return Explained(options.out / PAGE, tuple(options.out / each.file for each in pictures), numbers)


def _read_masks(options: ExplainOptions) -> tuple[Mask, Mask] | None:
    """Masks of both raw photos; a photo without one is matched as a whole. None: no folder is given."""
    if options.masks is None:
        return None
    photos = options.photo0, options.photo1
    first, second = (find_mask_by_path(options.masks, photo) for photo in photos)
    if first is None and second is None:
        name = options.photo0.name
        raise AstrError(f"{options.masks}: holds no mask for these photos; name the mask of {name} {name}.png")
    infos = [read_info(photo.parent, photo.name) for photo in photos]
    return read_mask(first, infos[0]), read_mask(second, infos[1])


def _check_folder(folder: Path) -> None:
    """Raises AstrError unless the folder is missing, empty, or holds the page of an earlier call."""
    check_output_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / PAGE).exists():
            raise AstrError(f"{folder}: holds files that astr explain did not write; choose another --out")
        check_page(folder / PAGE)


def numbers_of(found: Explanation) -> dict[str, Any]:
    """The numbers of the pictures, ready for JSON; places in pixels of the raw photos."""
    ratios = found.ratios
    return {
        "matches": len(found.look.matches),
        "coarse_matches": len(ratios),
        "cells": {fate.name.lower(): int((found.fates == fate).sum()) for fate in Fate},
        "confidence": [float(cells.mean()) for cells in found.confidences],
        "focal_lengths_known": found.known,
        "scale_ratios": [float(value) for value in np.percentile(ratios, (0, 50, 100))] if len(ratios) else [],
        "points": [_point_numbers(found, point) for point in found.points],
    }


def _point_numbers(found: Explanation, point: PointLook) -> dict[str, Any]:
    fine = point.fine
    return {
        "at": point.at.tolist(),
        "centre_of_cell": raw_places(found.look, 0, np.array([point.cell]))[0].tolist(),
        "fate": point.fate.name.lower(),
        "score": point.score,
        "partner": raw_places(found.look, 1, np.array([point.partner]))[0].tolist(),
        "match": None if point.match is None else point.match.tolist(),
        "first_layer_most": float(point.plain.max()),
        "rounds": [_round_numbers(found, each) for each in point.rounds],
        "fine": None
        if fine is None
        else {
            "scale_ratio": fine.ratio,
            "half_windows": list(fine.reach),
            "heat_before": fine.before.tolist(),
            "heat_after": fine.after.tolist(),
        },
    }


def _round_numbers(found: Explanation, each: Round) -> dict[str, Any]:
    places = raw_places(found.look, 1, each.centres[each.centres >= 0])
    return {
        "confidence": each.confidence,
        "partner": raw_places(found.look, 1, np.array([each.partner]))[0].tolist(),
        "windows": places.tolist(),
        "seeds": raw_places(found.look, 0, each.seeds).tolist(),
        "attention_most": float(each.attention.max()),
    }


def _pictures(found: Explanation) -> list[Picture]:
    pictures = [
        Picture(
            f"point-{number}.png",
            f"Point {number}: {point.at[0]:.0f}, {point.at[1]:.0f}",
            _point_text(point),
            draw_point(found, point),
        )
        for number, point in enumerate(found.points, 1)
    ]
    pictures.append(
        Picture(
            "confidence.png",
            "Confidence, round by round",
            "The largest entry of the matching matrix for every cell of the first photo.",
            draw_confidence(found),
        )
    )
    pictures.append(
        Picture(
            "scaling.png",
            "Adaptive scaling",
            "The windows that the fine stage searches. Where a thing is larger, its window is larger.",
            draw_scaling(found),
        )
    )
    fine = draw_fine(found)
    if fine is not None:
        text = (
            "Left: the point in the first photo; then the window searched (blue), the closer window and the result; "
            "then the heat map of the window, and that of the closer one."
        )
        pictures.append(Picture("fine.png", "The fine stage", text, fine))
    text = "What became of every cell of the first photo."
    return [*pictures, Picture("lost.png", "Where matches were lost", text, draw_fates(found))]


def _point_text(point: PointLook) -> str:
    what = {
        Fate.MATCHED: "matched",
        Fate.NOT_MUTUAL: "no match: its best partner has a better one",
        Fate.BELOW_THRESHOLD: "no match: the score is below the threshold",
        Fate.BORDER: "no match: it, or its partner, is too close to the border",
        Fate.MASKED: "no match: it, or what it was matched to, is masked",
    }[point.fate]
    end = "" if point.match is None else f" at {point.match[0]:.1f}, {point.match[1]:.1f} of the second photo"
    return (
        f"{what}{end}, score {point.score:.2f}. Squares are the windows of its spot (thick: of its own best match, "
        "thin: of its neighbours), bright cells are those it attends to."
    )


def _encoded(pixels: NDArray[np.uint8], kind: str) -> bytes:
    return bytes(cv2.imencode(kind, pixels)[1].tobytes())


def _body(title: str, found: Explanation, pictures: list[Picture]) -> str:
    """The page's HTML."""
    facts = (
        ("matches", str(len(found.look.matches))),
        ("cells matched", f"{int((found.fates == Fate.MATCHED).sum())} of {found.fates.size}"),
        ("focal lengths", "known" if found.known else "unknown"),
    )
    told = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in facts)
    parts = [
        f'<section><h2>{escape(each.title)}</h2><p class="note">{escape(each.text)}</p>'
        f'<img alt="{escape(each.title)}" style="max-width:100%" src="data:image/jpeg;base64,'
        f'{b64encode(_encoded(each.pixels, ".jpg")).decode()}"></section>'
        for each in pictures
    ]
    return f'<header><h1>{escape(title)}</h1><dl class="facts">{told}</dl></header><main>{"".join(parts)}</main>'
