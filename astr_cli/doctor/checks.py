"""Every check, in the order in which they are printed, and the one way to run one: nothing gets out but findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from astr_cli.doctor.device import check_cpu, check_gpu, check_memory
from astr_cli.doctor.finding import Finding, explained, note, problem
from astr_cli.doctor.folder import check_folder
from astr_cli.doctor.kernels import check_choice, check_cuda, check_numba, check_torch
from astr_cli.doctor.libraries import LIBRARIES, check_astr, check_library, check_python
from astr_cli.doctor.weights import check_weights

CHECKS: Mapping[str, Callable[[], Iterator[Finding]]] = MappingProxyType(
    {
        "Python": check_python,
        "astr": check_astr,
        **{library.distribution: partial(check_library, library) for library in LIBRARIES},
        "CPU": check_cpu,
        "memory": check_memory,
        "GPU": check_gpu,
        "kernels": check_choice,
        "kernels: torch": check_torch,
        "kernels: numba": check_numba,
        "kernels: cuda": check_cuda,
        "weights": check_weights,
    }
)
FOLDER = "folder"  # takes the folder


def run_check(name: str, folder: Path) -> Iterator[Finding]:
    """The findings of one check; an error that it does not expect is one of them."""
    try:
        yield from check_folder(folder) if name == FOLDER else CHECKS[name]()
    except ImportError as error:
        yield note(name, f"not checked ({explained(error)})")
    except Exception as error:
        todo = "If the libraries above are fine, report this as a bug of astr."
        yield problem(name, f"the check itself failed ({explained(error)})", todo)
