"""Several training processes on one machine: same weights, different scenes, gradients averaged."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from astr_cli.errors import Interrupted


def run_processes(count: int, function: Callable[..., None], *arguments: Any) -> None:
    """Call function(*arguments) in `count` processes of one thread each, or in this process if count is 1.

    A signal is sent on to the processes, which end after a checkpoint. Then it raises Interrupted.
    """
    if count == 1:
        function(*arguments)
        return
    signals: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")  # gloo creates this file and removes it
        context = spawn(_process, (count, meeting, function, arguments), nprocs=count, join=False)

        def pass_on(number: int, _frame: object) -> None:
            signals.append(number)
            for process in context.processes:
                process.terminate()

        previous = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not context.join():
                pass
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    if signals:
        raise Interrupted("stopped after a checkpoint; resume with --resume RUN_DIR")


def _process(rank: int, count: int, meeting: str, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    with suppress(Interrupted):  # the parent process handles it
        function(*arguments)
    distributed.barrier()  # the first process to finish would close the connection of the others
    distributed.destroy_process_group()
    # Ends without destructors, in which gloo's threads sometimes abort.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def process_rank() -> int:
    """The number of this process; 0 if there is only one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def average_gradients(model: nn.Module) -> None:
    """Replace every gradient by its mean over the processes."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process, because all must leave the loop at the same step."""
    if not distributed.is_initialized():
        return flag
    shared = torch.tensor(float(flag))
    distributed.all_reduce(shared)
    return shared.item() > 0
