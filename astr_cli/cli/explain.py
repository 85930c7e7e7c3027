"""`astr explain`: what the network looked at."""

from __future__ import annotations

from astr_cli.options.explain import ExplainOptions
from astr_cli.options.output import JsonOption


def command(options: ExplainOptions, output: JsonOption) -> None:
    """Show how the network matches two photos: where points look, how sure it gets, and where matches are lost.

    OUT gets PNG pictures and index.html, which shows all of them. For each point: what the first layer attends to, the
    windows (spots) of each round, and the heat maps of the fine stage. For the whole photos: the confidence round by
    round, the windows of adaptive scaling, and the reason why each cell has no match.

    Examples:

    astr explain a.jpg b.jpg --out look/

    astr explain a.jpg b.jpg --out look/ --at 640,480 --at 900,310 --json

    astr explain a.jpg b.jpg --out look/ --masks masks/

    Exit codes: 0 = written; 2 = a photo cannot be read, or a point lies outside of it.
    """
    from astr_cli.cli import console
    from astr_cli.report.explain import write_explanation

    found = write_explanation(options)
    if output.as_json:
        console.json_line({"event": "explained", "page": str(found.page), **found.numbers})
        return
    cells = found.numbers["cells"]
    print(
        f"{found.numbers['matches']} matches of {cells['matched']} cells; lost: {cells['not_mutual']} without a mutual "
        f"maximum, {cells['below_threshold']} below the threshold, {cells['border']} too close to the border"
        + (f", {cells['masked']} masked" if cells["masked"] else "")
    )
    print(f"{found.page}: open it in a browser ({len(found.pictures)} pictures beside it)")
