"""The process that runs the checks: one line of JSON per finding, and null after each check."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path


def main() -> None:
    """Runs the checks named on the command line, after the module path and the folder."""
    from astr_cli.doctor.checks import run_check

    folder, *names = sys.argv[2:]
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what libraries print is no answer
        for name in names:
            for finding in run_check(name, Path(folder)):
                print(json.dumps(asdict(finding)), file=answers, flush=True)
            print("null", file=answers, flush=True)
