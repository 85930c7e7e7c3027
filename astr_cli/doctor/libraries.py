"""Python, astr, and the libraries that astr needs: each is imported, and its version compared with pyproject.toml's."""

from __future__ import annotations

import platform
import re
import sys
import zlib  # noqa: F401  (before pycolmap: see sfm/colmap.py)
from collections.abc import Iterator, Sequence
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from astr_cli.doctor.finding import Finding, explained, note, ok, problem

ASTR = "astr-cli"


class Library(NamedTuple):
    """A library that astr imports."""

    module: str
    distribution: str
    """Its name for pip."""
    without: str = ""
    """What astr does without it; empty: astr, or a part of it, cannot work."""


LIBRARIES = (
    Library("torch", "torch"),
    Library("numba", "numba", "torch computes instead, slower"),
    *(Library(name, name) for name in ("numpy", "scipy", "h5py", "safetensors", "pycolmap", "typer", "rich", "tqdm")),
    Library("cv2", "opencv-python-headless"),
    Library("PIL", "pillow"),
    Library("tomli_w", "tomli-w"),
    *([] if sys.version_info >= (3, 11) else [Library("tomli", "tomli")]),
)


def check_python() -> Iterator[Finding]:
    """Version and platform."""
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    if sys.maxsize < 1 << 32:
        yield problem("Python", f"{text}, 32 bits", "Install a Python of 64 bits: PyTorch has no other.")
    else:
        yield ok("Python", text)


def check_astr() -> Iterator[Finding]:
    """Version and place of astr itself."""
    place = Path(__file__).resolve().parents[1]
    try:
        yield ok("astr", f"{metadata.version(ASTR)}, {place}")
    except metadata.PackageNotFoundError:
        todo = "Run pip install . in the folder of pyproject.toml: smallest versions of libraries are not known now."
        yield note("astr", f"{place} is not installed", todo)


def check_library(library: Library) -> Iterator[Finding]:
    """Whether it can be imported, and its version."""
    try:
        requirements = metadata.requires(ASTR) or []
    except metadata.PackageNotFoundError:
        requirements = []
    yield _check(library, least_version(library.distribution, requirements))


def least_version(distribution: str, requirements: Sequence[str]) -> str:
    """The smallest version that the requirements of a package allow, such as 2.5; empty: any."""
    found = (re.match(rf"{re.escape(distribution)}\s*>=\s*([\d.]+)", each, re.IGNORECASE) for each in requirements)
    return next((each[1] for each in found if each is not None), "")


def is_older(version: str, least: str) -> bool:
    """Whether a version such as 2.13.0+cpu is older than `least`; versions without numbers are not."""
    numbers, wanted = ([int(part) for part in re.findall(r"\d+", text.split("+")[0])] for text in (version, least))
    return bool(numbers) and numbers < wanted


def _check(library: Library, least: str) -> Finding:
    install = f"pip install '{library.distribution}>={least}'" if least else f"pip install {library.distribution}"
    if library.module == "torch":
        install += " (pytorch.org, Get started, has the command for your GPU or for a CPU)"
    try:
        module = import_module(library.module)
    except ModuleNotFoundError as error:
        missing = error.name == library.module
        return _unusable(library, "not installed" if missing else f"cannot be loaded ({explained(error)})", install)
    except Exception as error:  # a wheel for another machine or beside another numpy fails in its own way
        again = install.replace("pip install", "pip install --force-reinstall", 1)
        return _unusable(library, f"cannot be loaded ({explained(error)})", again)
    version = _version(module, library.distribution)
    if least and is_older(version, least):
        return _unusable(library, f"{version} is too old", install)
    return ok(library.distribution, f"{version}{_build(module)}")


def _unusable(library: Library, text: str, install: str) -> Finding:
    if library.without:
        return note(library.distribution, f"{text}; {library.without}", f"{install}, if it has a wheel for this Python")
    return problem(library.distribution, text, install)


def _version(module: ModuleType, distribution: str) -> str:
    """What the module says of itself, as several packages may bring it (cv2); else what pip knows."""
    try:
        return str(getattr(module, "__version__", None) or metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return "unknown version"


def _build(module: ModuleType) -> str:
    """For torch: what it was built for."""
    if module.__name__ != "torch":
        return ""
    if module.version.cuda:
        return f", built for CUDA {module.version.cuda}"
    return f", built for ROCm {module.version.hip}" if module.version.hip else ", built for CPUs"
