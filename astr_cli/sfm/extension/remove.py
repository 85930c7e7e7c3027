"""`remove`: photos out of a finished reconstruction; what remains keeps its numbers and its places."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.options.extend import ExtendOptions
from astr_cli.pairs.reading import read_pairs
from astr_cli.pairs.writing import pairs_text
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.database.atomic import new_database, read_only
from astr_cli.sfm.database.contents import StoredImage, read_existing
from astr_cli.sfm.database.keypoints import read_points
from astr_cli.sfm.database.removing import frame_mates, remove_images
from astr_cli.sfm.extension.database import Start
from astr_cli.sfm.extension.folder import Reconstruction
from astr_cli.sfm.extension.growing import check_model
from astr_cli.sfm.extension.models import Extended
from astr_cli.sfm.extension.new_photos import held_photos
from astr_cli.sfm.extension.record import extended_text
from astr_cli.sfm.extension.shrinking import models_in, shrink_models
from astr_cli.sfm.extension.state import DROPPED, JOINED, move_in, set_ready, taken, work_folder
from astr_cli.sfm.pairs.automatic import HEAD
from astr_cli.sfm.reconstruction.folder import SUMMARY
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.merging import write_without


class RemoveSummary(NamedTuple):
    """The result of a removal."""

    out: Path
    removed: tuple[str, ...]
    """Photos, by name."""
    pairs: int
    """Matched pairs that went with them."""
    left: Extended | None
    """None: an earlier run had removed all of them."""
    report: bool = False
    """Whether the reconstruction has a report to renew."""


def remove(options: ExtendOptions, tell: Callable[[str], None], stop: StopFlag) -> RemoveSummary:
    """Takes photos out of a finished reconstruction: their poses, observations, keypoints, pairs and matches.

    The photos themselves stay on disk. The folder stays as it is until all of it is made. Raises AstrError: no
    finished reconstruction, or a photo that it does not have; Interrupted when `stop` is set.
    """
    with taken(options.out, tell) as (done, completed):
        existing = read_existing(done.database)
        names = _names(options.remove, existing.images, completed)
        if not names:
            return RemoveSummary(options.out, (), 0, None)
        _check(done, existing.images, names)
        rest = existing.images.keys() - set(names)
        start = Start(done, held_photos(done.options, rest), existing, read_points(done.database), tell, stop)
        return _steps(options, start, names)


def _steps(options: ExtendOptions, start: Start, names: Sequence[str]) -> RemoveSummary:
    done, out = start.done, options.out
    model = read_model(done.model.folder)
    check_model(model, start.points, done.model.folder)
    work = work_folder(out)
    made = work / "made"
    shutil.rmtree(made, ignore_errors=True)
    (made / "sparse").mkdir(parents=True)
    with new_database(made / "database.db", done.database) as part:
        remove_images(part, {start.existing.images[name].number for name in names})
    start.stop.check()
    left = shrink_models(start, model, names, made / "database.db", made / "sparse", options.readjust)
    with MatchesFile(done.matches) as file:
        before = len(file.pairs())
    lost = before - write_without(done.matches, out / JOINED, names, start.stop.check)
    kept = {folder.name for folder in models_in(made / "sparse")}
    dropped = [folder.name for folder in models_in(done.model.folder.parent) if folder.name not in kept]
    (made / DROPPED).write_text("\n".join(dropped))
    (out / JOINED).replace(made / "matches.h5")
    _write_pairs(out, names, made)
    record = extended_text(done.record, left, -lost, made / "database.db")
    (made / SUMMARY).write_text(record, encoding="utf-8")
    set_ready(out, made)
    move_in(out, done.options.sparse)
    return RemoveSummary(out, tuple(names), lost, left, done.options.report)


def _names(wanted: Sequence[str], held: Collection[str], completed: bool) -> list[str]:
    """The names in the order given, each once. Raises AstrError for one that is not held, unless a removal was
    `completed` just now, which may have been that of the same command.
    """
    named = [name for text in wanted for name in ([text] if text in held else _listed(text))]
    unknown = next((name for name in named if name not in held), None)
    if unknown is not None and not completed:
        near = difflib.get_close_matches(unknown, held, n=1)
        meant = f"; did you mean {near[0]}?" if near else "; names start at the folder of the photos"
        raise AstrError(f"--remove {unknown}: the reconstruction has no such photo{meant}")
    return list(dict.fromkeys(name for name in named if name in held))


def _listed(text: str) -> list[str]:
    """The lines of a text file; the text itself where there is no such file."""
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return [text]
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _check(done: Reconstruction, held: dict[str, StoredImage], names: Sequence[str]) -> None:
    """Raises AstrError when half of a rig's frame would be left."""
    with closing(read_only(done.database)) as connection:
        mates = frame_mates(connection, {held[name].number for name in names})
    if mates:
        name_of = {image.number: name for name, image in held.items()}
        mate, one = next(iter(mates.items()))
        raise AstrError(
            f"--remove {name_of[one]}: is in one frame of a rig with {name_of[mate]}; remove all photos of the frame"
        )


def _write_pairs(out: Path, names: Sequence[str], made: Path) -> None:
    """pairs.txt, unless it is the user's own."""
    listed = out / "pairs.txt"
    head, _, _ = listed.read_text(encoding="utf-8").partition("\n")
    if head.startswith(HEAD):
        pairs = [(pair.name0, pair.name1) for pair in read_pairs(listed).pairs]
        kept = pairs_text(pair for pair in pairs if set(names).isdisjoint(pair))
        (made / "pairs.txt").write_text(f"{head}\n{kept}", encoding="utf-8")
