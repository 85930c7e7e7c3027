"""Several training processes on one machine: same weights, different scenes, gradients averaged."""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn

from astr_cli.errors import Interrupted


def run_processes(count: int, function: Callable[..., None], *arguments: Any) -> None:
    """Call function(*arguments) in `count` processes of one thread each; in this one when count is 1."""
    if count == 1:
        function(*arguments)
        return
    with tempfile.NamedTemporaryFile() as meeting:
        context = spawn(_process, (count, meeting.name, function, arguments), nprocs=count, join=False)
        interrupted = False
        while True:
            try:
                if context.join():
                    break
            except KeyboardInterrupt:  # the processes have got the signal too, and end after their step
                interrupted = True
    if interrupted:
        raise Interrupted("stopped after a checkpoint; go on with --resume")


def _process(rank: int, count: int, meeting: str, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=count)
    try:
        function(*arguments)
    except Interrupted:
        pass  # told by the parent
    finally:
        distributed.destroy_process_group()


def process_rank() -> int:
    """This process's number, 0 where there is only one."""
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
    """Whether the flag is set in any process: all of them must leave the loop at the same step."""
    if not distributed.is_initialized():
        return flag
    shared = torch.tensor(float(flag))
    distributed.all_reduce(shared)
    return shared.item() > 0
