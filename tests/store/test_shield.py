"""The file that hides a full disk from HDF5."""

import errno
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.store.shield import ShieldedFile


class Small(io.FileIO):
    """A file on a disk that has room for 100 bytes, and writes half of what it is given."""

    def write(self, data: Any, /) -> int:
        room = 100 - self.tell()
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[: max(1, min(room, len(data) // 2))])


OPERATIONS = st.lists(st.tuples(st.sampled_from(["write", "read", "end"]), st.integers(0, 150), st.binary(max_size=60)))


@settings(deadline=None)
@given(OPERATIONS)
def test_it_reads_back_what_was_written_whether_or_not_it_fits(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int, bytes]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "shielded"
    twin = io.BytesIO()
    with ShieldedFile(path) as file:
        file._file.close()
        file._file = Small(path, "w+b")
        for kind, offset, data in operations:
            assert file.seek(offset) == twin.seek(offset) == file.tell()
            if kind == "write" and data:
                assert file.write(data) == twin.write(data) == len(data)
            elif kind == "read":
                assert file.readinto(buffer := bytearray(30)) == 30
                assert bytes(buffer) == twin.read(30).ljust(30, b"\0")
            else:
                assert file.seek(0, io.SEEK_END) == len(twin.getvalue())
        if len(twin.getvalue()) <= 100:
            assert file.error is None
            file.truncate(10)
            assert path.stat().st_size == 10
        else:
            assert isinstance(file.error, OSError) and file.error.errno == errno.ENOSPC
            assert file.truncate(10) == 10


def test_an_interrupt_waits_outside(tmp_path: Path) -> None:
    class Interrupted(io.FileIO):
        def write(self, data: Any, /) -> int:
            raise KeyboardInterrupt

    with ShieldedFile(tmp_path / "file") as file:
        file._file.close()
        file._file = Interrupted(tmp_path / "file", "w+b")
        assert file.write(b"abc") == 3
        assert isinstance(file.error, KeyboardInterrupt)
