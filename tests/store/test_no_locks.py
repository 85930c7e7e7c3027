"""A drive without locks, as some network drives are: flock fails with ENOLCK (by a library loaded first)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from astr_cli.store.lock import Lock
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

NO_LOCKS = "#include <errno.h>\nint flock(int file, int what) { errno = ENOLCK; return -1; }\n"
READ = """
import sys
from pathlib import Path
from astr_cli.store.lock import Lock
from astr_cli.store.matches_file import MatchesFile
path = Path(sys.argv[1])
with Lock(path.with_name("lock"), path), MatchesFile(path) as file:
    print(len(file.pairs()))
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
def test_matches_are_read_all_the_same(tmp_path: Path) -> None:
    """Case 10."""
    (tmp_path / "none.c").write_text(NO_LOCKS)
    library = tmp_path / "none.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "none.c")], check=True)
    points = np.ones((3, 2), np.float32)
    matches = PairMatches(points, points, np.ones(3, np.float32), np.zeros(3, np.uint8))
    entry = MatchEntry("a.png", "b.png", (64, 64), (64, 64), matches)
    write_matches(tmp_path / "m.h5", [("long_side", "320")], [entry])
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "m.h5")],
        env={**os.environ, "LD_PRELOAD": str(library)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_a_lock_that_cannot_be_removed_is_no_error(tmp_path: Path) -> None:
    """The work is done by then; the file locks nothing any more."""
    lock = Lock(tmp_path / "lock", tmp_path / "m.h5")
    lock.path.unlink()
    lock.path.mkdir()
    lock.release(remove=True)
    assert not lock.held
    lock.path.rmdir()
    Lock(tmp_path / "lock", tmp_path / "m.h5").release(remove=True)
    assert not lock.path.exists()
