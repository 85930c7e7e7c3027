"""A page that needs nothing but itself: HTML with its style, its scripts and its data inside."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from astr_cli.errors import AstrError
from astr_cli.files import check_output_file, write_whole
from astr_cli.images.charts import COLOURS, FONTS

MARK = "<!DOCTYPE html><!-- astr page -->"  # how every page of astr begins
ASSETS = Path(__file__).parent / "assets"
# Nothing may be fetched, whatever a name in a file tries.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


class NoPlotly(AstrError):
    """Pages with charts need plotly."""


def charts() -> str:
    """The source of plotly.js. Raises NoPlotly: it is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise NoPlotly("a report needs plotly; install it: pip install 'astr-cli[report]'") from None
    return str(get_plotlyjs())


def page(title: str, body: str, script: str, data: Mapping[str, Any], library: str = "", images: str = "") -> str:
    """The page. body: HTML of astr's own; script: reads `data` from the element of that name, and may use `library`.

    images: sources of images, besides the page itself.
    """
    return "\n".join(
        [
            MARK,
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY} {images}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_variables()}{asset('style.css')}</style>",
            f"</head><body>{body}",
            f'<script type="application/json" id="data">{embedded(data)}</script>',
            f"<script>{library}</script>",
            f"<script>{script}</script>",
            "</body></html>\n",
        ]
    )


def _variables() -> str:
    """The colours and fonts of all charts, for style.css and for the scripts."""
    fonts = ", ".join(["system-ui", *(f'"{name}"' for name in FONTS), "sans-serif"])
    return ":root { " + "".join(f"--{name}: {value}; " for name, value in COLOURS.items()) + f"--fonts: {fonts}; }}\n"


def asset(name: str) -> str:
    """The text of a file of `assets`."""
    return (ASSETS / name).read_text(encoding="utf-8")


def embedded(data: Mapping[str, Any]) -> str:
    """JSON that no name can end the script element with, nor any other text in it."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def check_page(path: Path) -> None:
    """Raises AstrError: no page can be written there, or another program's file has that name."""
    check_output_file(path)
    if not path.parent.is_dir():
        raise AstrError(f"{path}: there is no folder {path.parent}; create it first")
    if os.path.lexists(path) and not _is_page(path):
        raise AstrError(f"{path}: exists and is not a page of astr; choose another --out")


def write_page(path: Path, text: str) -> None:
    """An equal page stays as it is. Raises AstrError: it cannot be written, or is not astr's to replace."""
    check_page(path)
    try:
        if not (path.is_file() and path.read_bytes() == text.encode()):
            write_whole(path, text)
    except OSError as error:
        raise AstrError(f"{path}: cannot be written ({error.strerror}); choose another --out") from None


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()
