"""`astr export`: writes matches in the formats of other programs."""

from __future__ import annotations

from pathlib import Path

from astr_cli.options.files import ExportOptions
from astr_cli.options.output import OutputOptions
from astr_cli.sfm.exports.formats import FORMATS

HELP = f"""Join matches to tracks, and write keypoints and matches in the format of another program.

{" ".join(f"{name}: {form.help}." for name, form in FORMATS.items())}

Examples:

astr export matches.h5 --format hloc --out hloc/

astr export matches.h5 --format openmvg --out openmvg/ --images photos/

Exit codes: 0 = done; 2 = nothing was written; 4 = disk full; 130 = stopped (nothing was written).
"""


def command(options: ExportOptions, output: OutputOptions) -> int:
    """Writes the files and prints the next steps."""
    import shlex
    from dataclasses import asdict

    from astr_cli.cli import console
    from astr_cli.cli.sfm_output import stoppable
    from astr_cli.sfm.exports.export import export_matches
    from astr_cli.wording import counted

    with stoppable(f"{options.out}: stopped; nothing was written") as stop:
        summary = export_matches(options, stop)
    if output.as_json:
        record = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(summary).items()}
        console.json_line({"event": "exported", **record})
    elif not output.quiet:
        counts = ((summary.images, "photo"), (summary.keypoints, "keypoint"), (summary.pairs, "pair"))
        print(f"{options.out}: {', '.join(counted(count, noun) for count, noun in counts)}")
        more = ", ..." if len(summary.files) > 4 else ""
        print(f"{counted(len(summary.files), 'file')}: {', '.join(summary.files[:4])}{more}")
        out, images = shlex.quote(str(options.out)).rstrip("/"), shlex.quote(str(summary.images_root))
        for number, line in enumerate(FORMATS[options.format].next_steps.splitlines()):
            print(f"{'      ' if number else 'next: '}{line.format(out=out, images=images)}")
    return 0
