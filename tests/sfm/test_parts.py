"""Copies of a database that other runs work on, of this machine and of others on a shared drive."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from astr_cli.sfm.database.atomic import new_database


@pytest.fixture(scope="module")
def ended() -> int:
    """The number of a process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.skipif(os.name == "nt", reason="there all processes count as alive")
def test_a_copy_of_another_host_is_left_alone(tmp_path: Path, ended: int) -> None:
    names = {
        "other": f".a.db.other-host.{ended}.part",  # on that host it may be alive
        "ours": f".a.db.{''.join(c if c.isalnum() or c in '_-' else '-' for c in platform.node())}.{ended}.part",
        "old": f".a.db.{ended}.part",  # as astr 0.1 named it
    }
    for name in names.values():
        (tmp_path / name).write_bytes(b"")
    with new_database(tmp_path / "a.db") as part:
        assert part.name.endswith(f".{os.getpid()}.part")
    assert sorted(path.name for path in tmp_path.iterdir()) == [names["other"], "a.db"]
