"""The shipped weights: complete, unchanged, and loaded once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from astr_cli.doctor.finding import Finding, explained, note, ok, problem
from astr_cli.errors import AstrError
from astr_cli.resources import weights_folder

SUMS = "SHA256SUMS"
AGAIN = "Install astr again, or take a fresh copy of the weights."


def check_weights(folder: Path | None = None) -> Iterator[Finding]:
    """One finding per file of weights; `folder`: None = that of the installation."""
    try:
        folder = weights_folder() if folder is None else folder
    except AstrError as error:
        yield problem("weights", str(error), AGAIN)
        return
    try:
        sums = read_sums(folder / SUMS)
    except (OSError, ValueError) as error:
        yield problem("weights", f"{folder / SUMS}: {explained(error)}", AGAIN)
        sums = {}
    for name in sorted(sums.keys() | {path.name for path in folder.glob("*.safetensors")}):
        yield _check(folder / name, sums.get(name))


def read_sums(path: Path) -> dict[str, str]:
    """SHA-256 by file name. Raises OSError, or ValueError for a line of another form."""
    sums = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = re.fullmatch(r"([0-9a-f]{64}) [ *]([^/\\]+)", line)
        if found is None:
            raise ValueError(f"line {number} is not a SHA-256 and a file name")
        sums[found[2]] = found[1]
    return sums


def _check(path: Path, expected: str | None) -> Finding:
    from astr_cli.model.checkpoint import load_weights

    check = f"weights: {path.stem}"
    try:
        weights = load_weights(path)
    except AstrError as error:
        return problem(check, str(error), AGAIN)
    if expected is None:
        todo = "Nothing, if you put the file into this folder; otherwise install astr again."
        return note(check, f"{path} can be loaded, but {SUMS} does not list it", todo)
    if weights.sha256 != expected:
        return problem(check, f"{path}: is not the file that {SUMS} lists", AGAIN)
    count = sum(parameter.numel() for parameter in weights.model.parameters())
    return ok(check, f"{count / 1e6:.1f} million parameters, SHA-256 as listed")
