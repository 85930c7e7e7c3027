"""`astr export`: matches in the formats that other pipelines read."""

from __future__ import annotations

from pathlib import Path

from astr_cli.options.files import ExportOptions
from astr_cli.options.output import OutputOptions
from astr_cli.sfm.exports.formats import FORMATS

HELP = f"""Join matches to tracks, and write keypoints that all pairs share for another pipeline.

{" ".join(f"{name}: {form.help}." for name, form in FORMATS.items())}

Examples:

astr export matches.h5 --format hloc --out hloc/

astr export matches.h5 --format openmvg --out openmvg/ --images photos/

Exit codes: 0 done; 2 nothing was written; 4 disk full; 130 stopped (nothing was written).
"""


def command(options: ExportOptions, output: OutputOptions) -> int:
    """Writes the files and prints what to do with them."""
    import shlex
    from dataclasses import asdict

    from astr_cli.cli import console
    from astr_cli.cli.sfm_output import stoppable
    from astr_cli.sfm.exports.export import export_matches

    with stoppable(f"{options.out}: stopped; nothing was written") as stop:
        summary = export_matches(options, stop)
    if output.as_json:
        record = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(summary).items()}
        console.json_line({"event": "exported", **record})
    elif not output.quiet:
        print(f"{options.out}: {summary.images} images, {summary.keypoints} keypoints, {summary.pairs} pairs")
        print(f"{len(summary.files)} files: {', '.join(summary.files[:4])}{', ...' if len(summary.files) > 4 else ''}")
        out, images = shlex.quote(str(options.out)).rstrip("/"), shlex.quote(str(summary.images_root))
        for number, line in enumerate(FORMATS[options.format].next_steps.splitlines()):
            print(f"{'      ' if number else 'next: '}{line.format(out=out, images=images)}")
    return 0
