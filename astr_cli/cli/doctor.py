"""`astr doctor`: checks whether astr works on this machine, and prints what to do if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astr_cli.options.files import DoctorOptions
from astr_cli.options.output import JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astr_cli.doctor.finding import Finding

WIDTH = 24  # of the names of checks


def command(options: DoctorOptions, output: JsonOption) -> int:
    """Check whether astr works on this machine and in a folder, and say what to do if not.

    Checks Python, the libraries and their versions, the CPU, memory, the GPU and its driver, the compiled kernels (each
    computes a small case), the shipped weights, and whether files in FOLDER can be written, renamed and locked. The
    first run takes longer because it compiles the kernels. A note means that astr works, but could work better.

    Examples:

    astr doctor

    astr doctor /data/project --json

    Exit codes: 0 = astr works (notes may be printed); 3 = a problem was found.
    """
    from dataclasses import asdict

    from astr_cli.cli import console
    from astr_cli.doctor.examine import examine

    found = []
    for finding in examine(options.folder):
        found.append(finding)
        if output.as_json:
            console.json_line({"event": "checked", **asdict(finding)})
        else:
            print(f"{finding.level:<9}{finding.check:<{WIDTH}}{finding.text}", flush=True)
    problems = sum(finding.level == "problem" for finding in found)
    if output.as_json:
        notes = sum(finding.level == "note" for finding in found)
        console.json_line({"event": "done", "problems": problems, "notes": notes})
    else:
        _print_advice(found, problems)
    return 3 if problems else 0


def _print_advice(found: Sequence[Finding], problems: int) -> None:
    from astr_cli.wording import counted

    advice = [finding for finding in found if finding.todo]
    if advice:
        print("\nWhat to do:")
    for finding in sorted(advice, key=lambda finding: finding.level != "problem"):
        print(f"{finding.level:<9}{finding.check:<{WIDTH}}{finding.todo}")
    verdict = f"{counted(problems, 'problem')} found; see above." if problems else "astr works here."
    print(f"\n{verdict}")
