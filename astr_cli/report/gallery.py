"""One page of all drawings in a folder."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from astr_cli.images.drawing import is_drawing
from astr_cli.report.page import page, write_page
from astr_cli.wording import counted

INDEX = "index.html"


def write_gallery(folder: Path, title: str) -> Path | None:
    """Writes FOLDER/index.html with the drawings of astr in the folder and below, by name; the page shows the files
    themselves. None: there are no drawings.

    Raises AstrError: the page cannot be written, or another program's file has its name.
    """
    drawings = sorted(path for path in folder.rglob("*.jpg") if is_drawing(path))
    if not drawings:
        return None
    groups: dict[str, list[str]] = {}
    for path in drawings:
        place = path.relative_to(folder)
        groups.setdefault(place.parent.as_posix(), []).append(_figure(place.as_posix(), path.stem))
    parts = [
        f"<section><h2>{escape(title if name == '.' else name)}</h2>{''.join(figures)}</section>"
        for name, figures in groups.items()
    ]
    head = f"<header><h1>{escape(title)}</h1><p>{counted(len(drawings), 'drawing')}</p></header>"
    target = folder / INDEX
    write_page(target, page(title, f"{head}<main>{''.join(parts)}</main>", "", {}, images="'self' file:"))
    return target


def _figure(address: str, name: str) -> str:
    return (
        f'<figure><figcaption>{escape(name)}</figcaption><a href="{quote(address)}">'
        f'<img loading="lazy" alt="{escape(name)}" src="{quote(address)}"></a></figure>'
    )
