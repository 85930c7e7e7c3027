"""CUDA kernels: found in cuda/, compiled by NVRTC at their first use, kept on disk, launched on torch's current stream.

cuda.core does the work. It is imported here, and only inside functions: it or its libraries may be missing.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from astr_cli.resources import cuda_folder

ATTENTION = ("numbers", "warps", "lists")
SCALARS = {
    torch.float32: "ASTR_FLOAT",
    torch.float16: "ASTR_HALF",
    torch.bfloat16: "ASTR_BFLOAT16",
    torch.float64: "ASTR_DOUBLE",
}
TILE = 4  # a block of attention's has TILE x TILE warps, one for each row that it serves

Argument = Tensor | int | None  # of a kernel: a pointer, a 32-bit number, a null pointer
Grid = tuple[int, int, int]


class File(NamedTuple):
    """A file of cuda/ with kernels in it."""

    builds_on: tuple[str, ...]  # files that come before it
    warps: int  # of its blocks


FILES = {
    "attend": File(ATTENTION, TILE * TILE),
    "attend_backward": File(ATTENTION, TILE * TILE),
    "scores": File(ATTENTION, TILE * TILE),
    "matching": File(("numbers",), 4),
}


class Build(NamedTuple):
    """One build of one file of cuda/."""

    file: str
    dtype: torch.dtype
    head_size: int  # channels of a head; of a feature, for matching
    window: int = 0  # side of the windows, 0 for plain lists

    @property
    def macros(self) -> list[tuple[str, str]]:
        """The compiler's -D options for the file."""
        return [
            ("ASTR_SCALAR", SCALARS[self.dtype]),
            ("ASTR_HEAD_SIZE", str(self.head_size)),
            ("ASTR_WINDOW", str(self.window)),
        ]


def source(file: str) -> str:
    """The text of a file of cuda/ behind those that it builds on; errors name the file that they are in."""
    names = (*FILES[file].builds_on, file)
    return "".join(f'#line 1 "{name}.cu"\n{(cuda_folder() / f"{name}.cu").read_text("utf-8")}' for name in names)


def program(build: Build, architecture: str, **options: Any) -> Any:
    """A cuda.core.Program for `architecture` (for example sm_90), which needs neither a GPU nor a driver."""
    from cuda.core import Program, ProgramOptions

    # Numbers below 1e-38 are zero, which makes 2^x one instruction.
    settings = ProgramOptions(arch=architecture, ftz=True, define_macro=build.macros, **options)
    return Program(source(build.file), "c++", settings)


def launch(build: Build, kernel: str, grid: Grid, arguments: Sequence[Argument]) -> None:
    """Run a kernel of `build` on the device of the tensors among its arguments, in torch's current stream.

    Raises the errors of cuda.core, NVRTC or the driver.
    """
    from cuda.core import Device, LaunchConfig
    from cuda.core import launch as start

    device = next(x.device for x in arguments if isinstance(x, Tensor))
    with torch.cuda.device(device):
        Device(device.index).set_current()  # a thread that torch has just started has no context yet
        stream = _Stream(torch.cuda.current_stream(device).cuda_stream)
        config = LaunchConfig(grid=grid, block=32 * FILES[build.file].warps)
        start(stream, config, _kernel(build, kernel, device.index), *map(_argument, arguments))


class _Stream(NamedTuple):
    """torch's stream as cuda.core takes one; torch's own have this method in newer versions only."""

    handle: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.handle


def _argument(x: Argument) -> Any:
    if isinstance(x, int):
        return ctypes.c_int32(x)  # a plain int would be a pointer
    return 0 if x is None else x.data_ptr()


@cache
def _kernel(build: Build, kernel: str, device: int) -> Any:
    return _kept(build, "sm_{}{}".format(*torch.cuda.get_device_capability(device))).get_kernel(kernel)


@cache
def _kept(build: Build, architecture: str) -> Any:
    return compiled(build, architecture)


def compiled(build: Build, architecture: str) -> Any:
    """The cuda.core.ObjectCode of a build, from the disk where it has been made before."""
    from cuda.core.utils import FileStreamProgramCache

    try:
        return program(build, architecture).compile("cubin", cache=FileStreamProgramCache())
    except (OSError, RuntimeError):  # no home, no right to write there, a full disk
        return program(build, architecture).compile("cubin")
