"""Parts of a run for several machines: whole batches of the sorted plan, so that no byte depends on their number.

The plan follows a curve through the table of all pairs (plan.py), so that a stretch of it needs few photos.
"""

from collections.abc import Sequence

from astr_cli.errors import AstrError
from astr_cli.matching.run.plan import PairBatch
from astr_cli.matching.run.prepare import PreparedRun
from astr_cli.options.matching import parse_shard


def shard_of(plan: Sequence[PairBatch], number: int, count: int) -> list[PairBatch]:
    """The batches of shard `number` (from 1) of `count`: a stretch of the plan, each with its middle in that stretch.

    Every batch is in exactly one shard, and shards differ by about a batch.
    """
    total = sum(len(batch.pairs) for batch in plan)
    chosen, before = [], 0
    for batch in plan:
        middle = 2 * before + len(batch.pairs)  # in halves of a pair
        if middle * count // (2 * total) == number - 1:
            chosen.append(batch)
        before += len(batch.pairs)
    return chosen


def only_shard(prepared: PreparedRun) -> PreparedRun:
    """The run with the pairs and photos of its shard alone. Raises AstrError when there are more shards than batches.

    Pairs that `--skip-bad` left out belong to the first shard.
    """
    shard = prepared.options.shard
    if shard is None:
        return prepared
    number, count = parse_shard(shard)
    plan = shard_of(prepared.plan, number, count)
    if not plan:
        raise AstrError(
            f"--shard {shard}: nothing is left for it, as there are {len(prepared.plan)} batches of pairs; use at most "
            f"{len(prepared.plan)} shards"
        )
    chosen = {pair for batch in plan for pair in batch.pairs}
    names = {name for batch in plan for name in batch.names()}
    return prepared._replace(
        pairs=tuple(pair for pair in prepared.pairs if pair in chosen),
        skipped=prepared.skipped if number == 1 else (),
        infos={name: info for name, info in prepared.infos.items() if name in names},
        views={name: view for name, view in prepared.views.items() if name in names},
        masks=None if prepared.masks is None else {n: path for n, path in prepared.masks.items() if n in names},
        plan=plan,
    )
