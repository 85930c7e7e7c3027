"""Damaged matches files: an import says one line, and the interpreter lives."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

CHILD = """
import sys
from contextlib import closing
from pathlib import Path
from astr_cli.errors import AstrError
from astr_cli.sfm.tracks.match_rows import StoredRows
from astr_cli.store.matches_file import MatchesFile

for line in sys.stdin:
    try:
        with MatchesFile(Path(line.strip())) as file, closing(StoredRows(file)) as rows:
            for pair in range(len(rows.pairs)):
                rows.read(pair)
    except AstrError as error:
        assert str(error).isprintable(), repr(str(error))
        print("refused", flush=True)
    else:
        print("read", flush=True)
"""
MUTATIONS = 400


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Bits flipped, a stretch of zeros or noise, or the end cut off; heads are hit most."""
    data = bytearray(content)
    at = int(random.random() ** 3 * (len(data) - 1))
    kind = random.integers(4)
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        for place in at + random.integers(0, 64, 4):
            data[min(int(place), len(data) - 1)] ^= 1 << int(random.integers(8))
    else:
        size = int(random.choice([1, 8, 64, 512]))
        data[at : at + size] = (bytes(size) if kind == 2 else random.bytes(size))[: len(data) - at]
    return bytes(data)


def test_damaged_matches_are_refused_in_one_line(scene: Any, tmp_path: Path) -> None:
    content = scene.write(tmp_path / "whole.h5").read_bytes()
    random = np.random.default_rng(7)
    paths = [tmp_path / f"{number}.h5" for number in range(MUTATIONS)]
    for path in paths:
        path.write_bytes(damaged(content, random))
    listed = "".join(f"{path}\n" for path in [tmp_path / "whole.h5", *paths])
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=listed, capture_output=True, text=True, timeout=300, check=False
    )
    said = done.stdout.split()
    assert done.returncode == 0, (len(said), done.stderr)
    assert said[0] == "read" and len(said) == 1 + MUTATIONS
    assert said.count("refused") >= 100
