"""Builds the kernels of cuda/ for this CPU with g++ and shim.h, and launches them as `cuda_launch` does on a GPU."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import Tensor

from astr_cli.ops import cuda_launch
from astr_cli.ops.cuda_launch import FILES, TILE, Argument, Build, Grid

SHIM = Path(__file__).with_name("shim.h")
# Warnings are errors: this is also a second compiler's opinion of the kernels.
FLAGS = ["-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
FLAGS += ["-U_FORTIFY_SOURCE"]  # which takes a jump to another stack for an error


def require_compiler() -> None:
    """Skip the test where the shim cannot be built."""
    if shutil.which("g++") is None:
        pytest.skip("the kernels run on a CPU through g++, which is not installed")
    if not sys.platform.startswith("linux"):
        pytest.skip("the shim's fibers are Linux's ucontext")


def compile_text(text: str, folder: Path, name: str, macros: Sequence[tuple[str, str]] = ()) -> ctypes.CDLL:
    """Compile kernels behind shim.h, each exported as run_<kernel>, and load them."""
    kernels = re.findall(r'extern "C" __global__ void (?:__launch_bounds__\(.*\) )?(\w+)\(', text)
    text += "".join(f"\nSHIM_EXPORT({kernel})" for kernel in kernels) + "\n"
    file, library = folder / f"{name}.cpp", folder / f"{name}.so"
    file.write_text(text, encoding="utf-8")
    defines = [f"-D{key}={value}" for key, value in macros]
    done = subprocess.run(
        ["g++", *FLAGS, *defines, "-include", SHIM, file, "-o", library], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = ctypes.CDLL(str(library))
    for kernel in kernels:
        getattr(loaded, f"run_{kernel}").restype = ctypes.c_char_p
    return loaded


class Host:
    """Launches kernels on the CPU; each build is compiled once, into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.built: dict[Build, ctypes.CDLL] = {}
        self.backwards = False  # the order in which the lanes of a warp run between two meetings

    def launch(self, build: Build, kernel: str, grid: Grid, arguments: Sequence[Argument]) -> None:
        """As `cuda_launch.launch`. Raises RuntimeError where a GPU would hang or do who knows what."""
        if build not in self.built:
            name = f"{build.file}_{str(build.dtype)[6:]}_{build.head_size}_{build.window}"
            self.built[build] = compile_text(cuda_launch.source(build.file), self.folder, name, build.macros)
        run(self.built[build], kernel, grid, arguments, self.backwards, FILES[build.file].warps)


def run(
    library: ctypes.CDLL,
    kernel: str,
    grid: Grid,
    arguments: Sequence[Argument],
    backwards: bool = False,
    warps: int = TILE * TILE,
) -> None:
    """Run one kernel over a grid of blocks of so many warps."""
    values = [_value(x) for x in arguments]
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(x) for x in values))
    function = getattr(library, f"run_{kernel}")
    wrong = function(len(values), *grid, 32 * warps, pointers, int(backwards))
    if wrong is not None:
        raise RuntimeError(f"{kernel}: {wrong.decode()}")


def _value(x: Argument) -> ctypes.c_int32 | ctypes.c_void_p:
    if isinstance(x, Tensor):
        return ctypes.c_void_p(x.data_ptr())
    return ctypes.c_void_p(None) if x is None else ctypes.c_int32(x)
