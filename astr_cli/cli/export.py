"""`astr export`: writes matches or a model in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astr_cli.options.files import ExportOptions
from astr_cli.options.output import OutputOptions
from astr_cli.sfm.exports.formats import FORMATS, MODEL_HELP

if TYPE_CHECKING:
    from astr_cli.sfm.exports.export import ExportSummary
    from astr_cli.sfm.exports.model_export import ModelExportSummary

HELP = f"""Join matches to tracks, and write keypoints and matches in the format of another program.

{" ".join(f"{name}: {form.help}." for name, form in FORMATS.items())}

Of a model, write undistorted photos and pinhole cameras, and the poses for another program. {MODEL_HELP}

Examples:

astr export matches.h5 --format hloc --out hloc/

astr export matches.h5 --format openmvg --out openmvg/ --images photos/

astr export model/sparse/0 --format nerfstudio --out nerf/

Exit codes: 0 = done; 2 = nothing was written; 4 = disk full; 130 = stopped (nothing was written).
"""


def command(options: ExportOptions, output: OutputOptions) -> int:
    """Writes the files and prints the next steps."""
    from dataclasses import asdict

    from astr_cli.cli import console
    from astr_cli.cli.sfm_output import stoppable
    from astr_cli.sfm.exports.export import export_matches
    from astr_cli.sfm.exports.model_export import export_model
    from astr_cli.sfm.exports.models import MODEL_FORMATS

    summary: ExportSummary | ModelExportSummary
    with stoppable(f"{options.out}: stopped; nothing was written") as stop:
        of_model = options.matches.is_dir()
        summary = export_model(options, stop) if of_model else export_matches(options, stop)
    if output.as_json:
        record = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(summary).items()}
        console.json_line({"event": "exported", **record})
    elif not output.quiet:
        _print(summary, (MODEL_FORMATS if of_model else FORMATS)[options.format].next_steps)
    return 0


def _print(summary: ExportSummary | ModelExportSummary, next_steps: str) -> None:
    """The counts, the first files and the next steps."""
    import shlex

    from astr_cli.wording import counted

    nouns = {"images": "photo", "keypoints": "keypoint", "pairs": "pair", "points": "point"}
    counts = [counted(getattr(summary, name), noun) for name, noun in nouns.items() if hasattr(summary, name)]
    print(f"{summary.out}: {', '.join(counts)}")
    more = ", ..." if len(summary.files) > 4 else ""
    print(f"{counted(len(summary.files), 'file')}: {', '.join(summary.files[:4])}{more}")
    out, images = shlex.quote(str(summary.out)).rstrip("/"), shlex.quote(str(summary.images_root))
    for number, line in enumerate(next_steps.splitlines()):
        print(f"{'      ' if number else 'next: '}{line.format(out=out, images=images)}")
