"""OUT, the folder of a reconstruction: whose it is, and what stays in it when astr refuses to start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.files import write_whole
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.sfm.own_files import require_own_files, require_own_models
from astr_cli.sfm.pairs.automatic import HEAD
from astr_cli.sfm.reconstruction.stages import MARK as STAGES_MARK
from astr_cli.sfm.reconstruction.stages import TIMES
from astr_cli.store.lock import Lock

CONFIG = "options.toml"
CONFIG_HEAD = "astr reconstruct"
SUMMARY = "summary.json"
LOCK = ".reconstruct.lock"


def require_own(options: ReconstructOptions) -> None:
    """Raises AstrError when OUT holds files of these names that an earlier call did not write."""
    out, listed = options.out, options.out / "pairs.txt"
    marks = {out / CONFIG: f"# {CONFIG_HEAD}", out / SUMMARY: "mapping_key", out / TIMES: STAGES_MARK}
    given = Path(options.choice.pairs)
    if not (listed.exists() and given.exists() and given.samefile(listed)):  # the user may keep the list there
        marks[listed] = HEAD
    require_own_files(marks)
    require_own_models(options.sparse)


@contextmanager
def own_folder(options: ReconstructOptions) -> Iterator[None]:
    """Makes OUT and keeps a second run out of it; folders that are still empty when the block refuses are removed."""
    made = [folder for folder in (options.sparse, *options.sparse.parents) if not folder.exists()]
    _make_folder(options.sparse)
    try:
        lock = Lock(options.out / LOCK, options.out)
    except OSError as error:
        raise AstrError(f"{options.out}: cannot be written ({error.strerror}); choose another --out") from None
    try:
        yield
    except AstrError:
        lock.release(remove=True)
        with suppress(OSError):  # the folder contains other files
            for folder in made:
                folder.rmdir()
        raise
    finally:
        lock.release(remove=True)


@contextmanager
def nothing_left(options: ReconstructOptions) -> Iterator[None]:
    """Removes the files of the block if it refuses to start."""
    files = (options.out / "pairs.txt", options.out / CONFIG, options.out / TIMES)
    before = {file: file.read_bytes() for file in files if file.is_file()}
    try:
        yield
    except AstrError as error:
        if error.exit_code == AstrError.exit_code:
            for file in files:
                if file in before:
                    write_whole(file, before[file])
                else:
                    file.unlink(missing_ok=True)
        raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AstrError(f"{folder}: the folder cannot be created ({error.strerror}); choose another --out") from None


def write(path: Path, text: str) -> None:
    """Raises AstrError where the file cannot be written."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise AstrError(f"{path}: cannot be written ({error.strerror}); free some space and run it again") from None
