"""`astr bench operator`: sparse attention and the streaming dual softmax beside their peers, in one run."""

from collections.abc import Collection, Iterator
from time import perf_counter
from typing import NamedTuple

import torch

from astr_cli.bench.attention_peers import Case, attention_trials
from astr_cli.bench.comparison import Call, Contender, Trial, Unavailable
from astr_cli.bench.matching_peers import matching_trials
from astr_cli.bench.measuring import free_bytes, interleaved, machine, peak_megabytes
from astr_cli.bench.records import BenchError, Machine, Timing
from astr_cli.bench.window_centres import WINDOW, WRONG, random_centres, realistic_centres
from astr_cli.ops.lists import spot_mask
from astr_cli.options.bench import LISTS, OperatorOptions

HEAD = 32  # channels of a head, in both presets
ROOFLINE = "roofline"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def bench_operators(options: OperatorOptions) -> Iterator[Machine | Timing]:
    """Yields the machine first, then one timing at a time. Raises BenchError for an invalid request."""
    device = _device(options.device)
    dtype = DTYPES[_known(options.dtype or ("float32" if device.type == "cpu" else "float16"), "dtype", DTYPES)]
    for lists in options.key_lists:
        _known(lists, "lists", LISTS)
    rates = machine(device, dtype)
    yield rates
    for grid in options.grids:
        for batch in options.batches:
            for lists in options.key_lists:
                case = make_case(grid, batch, lists, options.heads, device, dtype)
                for trial in attention_trials(case, lists):
                    yield from _run(trial, options, rates, device)
            for trial in matching_trials(grid, batch, options.heads * HEAD, device):
                yield from _run(trial, options, rates, device)


def make_case(
    grid: tuple[int, int], batch: int, lists: str, heads: int, device: torch.device, dtype: torch.dtype
) -> Case:
    """Random features and the lists of one size; the same ones at every call."""
    generator = torch.Generator().manual_seed(0)
    if lists == "realistic":
        centres = realistic_centres(grid, batch, WRONG, generator)
    else:
        centres = random_centres(grid, batch, generator)
    projected = torch.randn(batch, grid[0] * grid[1], 3 * heads * HEAD, generator=generator).to(device, dtype)
    query, key, value = (part.unflatten(2, (heads, HEAD)).transpose(1, 2) for part in projected.chunk(3, dim=2))
    # Some rows at a time: the whole mask may be what a size has no room for.
    pairs = sum(int(spot_mask(part, grid, WINDOW).sum()) for item in centres for part in item[None].split(1024, dim=1))
    return Case(grid, centres.to(device), query, key, value, pairs)


class _Tried(NamedTuple):
    """The result of the first two calls."""

    call: Call | None
    seconds: float = 0.0  # of the second call
    megabytes: float | None = None
    skipped: str = ""


def _run(trial: Trial, options: OperatorOptions, rates: Machine, device: torch.device) -> Iterator[Timing]:
    tried = {
        contender.name: _try(contender, options, rates, device)
        for contender in trial.contenders
        if not any(part in contender.name for part in options.skip)
    }
    times = interleaved(
        {name: (item.call, item.seconds) for name, item in tried.items() if item.call is not None}, device
    )
    peer = times[trial.peer][0] if trial.peer in times else None
    height, width = trial.grid

    def timing(name: str, middle: float | None, best: float | None, item: _Tried) -> Timing:
        ratio = None if peer is None or middle is None else peer / middle
        size = (trial.operator, f"{height}x{width}", trial.batch, trial.lists, trial.keys, trial.step)
        return Timing(*size, name, middle, best, ratio, item.megabytes, item.skipped)

    for name, item in tried.items():
        middle, best = times.get(name, (None, None))
        yield timing(name, middle, best, item)
    floor = max(trial.floor.flops / rates.matmul_gflops, trial.floor.bytes / rates.copy_gigabytes) / 1e6
    yield timing(ROOFLINE, floor, floor, _Tried(None))


def _try(contender: Contender, options: OperatorOptions, rates: Machine, device: torch.device) -> _Tried:
    """Calls it twice: the first call includes one-time work, the second measures memory."""
    expected = contender.cost.flops / rates.matmul_gflops / 1e9
    if expected > options.limit:
        return _Tried(None, skipped=f"expected to take at least {expected:.0f} s per call; raise --limit")
    if contender.cost.bytes > free_bytes(device):
        return _Tried(None, skipped=f"needs {contender.cost.bytes / 2**30:.0f} GiB at least")
    try:
        call = contender.prepare()
        call()
        start = perf_counter()
        megabytes = peak_megabytes(call, device)
        return _Tried(call, perf_counter() - start, megabytes)
    except Unavailable as error:
        return _Tried(None, skipped=str(error))
    except Exception as error:  # compilers and GPUs fail in their own many ways; the others are still worth measuring
        return _Tried(None, skipped=f"{type(error).__name__}: {' '.join(str(error).split())[:120]}")


def _device(name: str) -> torch.device:
    cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "cpu")
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise BenchError(f"no device {name!r}; expected auto, cpu, cuda or cuda:N")
    if name != "cpu" and not cuda:
        raise BenchError(f"--device {name}: this machine has no CUDA device that PyTorch can use")
    return torch.device(name)


def _known(name: str, what: str, names: Collection[str]) -> str:
    if name not in names:
        raise BenchError(f"no {what} {name!r}; expected {' or '.join(names)}")
    return name
