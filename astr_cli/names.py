"""The names of photos: one rule for names from any file.

A name is a POSIX path relative to the image folder. Whoever reads one from a file (pairs file, HDF5, database, COLMAP
model, index file) passes it through `clean_name`: after that it can be joined to a folder.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from astr_cli.errors import AstrError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


class NameProblem(AstrError):
    """A name that no photo may have; the message says why and what to do, and the caller adds the file."""


def clean_name(name: object) -> str:
    """The name in its one spelling: "./" and doubled slashes gone.

    Raises NameProblem: not text, not valid UTF-8, empty, a control character, an absolute path, or "..".
    """
    if isinstance(name, bytes):
        name = name.decode("utf-8", "surrogateescape")
    if not isinstance(name, str):
        raise NameProblem(f"the name of a photo is {type(name).__name__}, not text; make the file again")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        shown = name.encode("utf-8", "backslashreplace").decode()
        raise NameProblem(f"{shown}: the name is not valid UTF-8; rename the file")
    if _CONTROL.search(name):
        raise NameProblem(f"{name!r} contains a control character; rename the file")
    clean = str(PurePosixPath(name))
    if _ABSOLUTE.match(name) or _ABSOLUTE.match(clean):
        raise NameProblem(f"{name} is an absolute path; write names relative to the image root (--images)")
    if ".." in re.split(r"[/\\]", name):
        raise NameProblem(f"{name} leaves the image root by '..'; choose the root with --images instead")
    if clean == ".":
        raise NameProblem("an empty name; write the name of a photo")
    return clean


def require_name(name: object) -> str:
    """The name, which must be in its one spelling. Raises NameProblem as `clean_name` does, and for another spelling.

    For files that a program wrote, in which a name is also a key.
    """
    clean = clean_name(name)
    if name != clean and name != clean.encode():
        raise NameProblem(f"{name!r} is not in its one spelling, {clean}; make the file again")
    return clean


def problem_of_names(names: Iterable[str]) -> str | None:
    """The problem with these names together, or None. A photo must not have the name of another photo's folder."""
    known = set(names)
    for name in sorted(known):
        folder = next((str(each) for each in PurePosixPath(name).parents if str(each) in known), None)
        if folder is not None:
            return f"{folder} is a photo and also the folder of {name}; rename one of them"
    return None
