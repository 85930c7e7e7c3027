"""Finds the folders shipped with the code: `weights/` and `cuda/`.

A wheel carries both folders inside the package; a checkout or an editable install has them beside it.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from astr_cli.errors import AstrError

DEFAULT_WEIGHTS = "astr-small"
_PACKAGE = Path(__file__).resolve().parent
_SUFFIX = ".safetensors"


def weights_path(name_or_path: str | Path) -> Path:
    """The checkpoint file behind a shipped name ("astr-small") or a path.

    Raises AstrError when there is no such file, with the nearest existing one and the shipped names.
    """
    text = str(name_or_path)
    shipped = shipped_weights()
    if text in shipped:
        return weights_folder() / f"{text}{_SUFFIX}"
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    raise AstrError(_no_weights(path, text, shipped))


def shipped_weights() -> list[str]:
    """The names that `weights_path` knows, sorted."""
    return sorted(path.stem for path in weights_folder().glob(f"*{_SUFFIX}"))


def weights_folder() -> Path:
    """The folder of the shipped checkpoints."""
    return _shipped_folder("weights")


def cuda_folder() -> Path:
    """The folder of the operator's CUDA C++ sources."""
    return _shipped_folder("cuda")


def _shipped_folder(name: str) -> Path:
    inside = _PACKAGE / name
    folder = inside if inside.is_dir() else _PACKAGE.parent / name
    if not folder.is_dir():
        raise AstrError(f"{inside}: not found, so this installation of astr is incomplete; install astr again")
    return folder


def _no_weights(path: Path, text: str, shipped: list[str]) -> str:
    if path.is_dir():
        return f"{text}: is a folder; name a {_SUFFIX} file in it"
    looks_like_path = path.suffix == _SUFFIX or len(path.parts) > 1
    beside = sorted(other.name for other in path.parent.glob(f"*{_SUFFIX}")) if looks_like_path else []
    nearest = get_close_matches(path.name, beside or shipped, n=1, cutoff=0.4)
    hint = f"; did you mean {path.parent / nearest[0] if beside else nearest[0]}?" if nearest else ""
    names = ", ".join(shipped) or "none"
    return f"{text}: no such weights{hint}; use shipped weights ({names}) or the path of a {_SUFFIX} file"
