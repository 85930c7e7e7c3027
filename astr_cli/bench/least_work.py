"""The least work of a run: operations that the model's definition needs, and bytes that have to move.

Operations are those of convolutions and matrix products, counted while the model runs; every matching matrix counts
once, though a streaming dual softmax forms it twice. Elementwise work and the sparse attention (under 1% of a pair)
are not counted. Bytes are those of photos and features, written once and read per pair, of the weights, read per
pair, and of the matches.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from astr_cli.bench.pair_loop import Loop
from astr_cli.matching.run.feature_cache import feature_bytes

_ROW_BYTES = 21


class LeastWork(NamedTuple):
    """Work per image and per pair, on average."""

    image_flops: float
    image_bytes: float
    pair_flops: float
    pair_bytes: float


def measure_work(loop: Loop, pairs: Sequence[tuple[str, str]]) -> LeastWork:
    """Runs the model on these pairs and counts."""
    each = [_count(loop, *names) for names in pairs]
    return LeastWork(*(sum(column) / len(each) for column in zip(*each, strict=True)))


def _count(loop: Loop, name0: str, name1: str) -> LeastWork:
    weights = sum(p.numel() * p.element_size() for p in loop.model.parameters())
    with _counter() as counter:
        pair = loop.read(name0, name1)
    image_flops = counter.get_total_flops() / 2
    features = feature_bytes(pair.features0) + feature_bytes(pair.features1)
    pixels = 4 * sum(view.matched[0] * view.matched[1] for view in (pair.view0, pair.view1))
    with _counter() as counter:
        rows = loop.match_features(pair)
    return LeastWork(
        image_flops,
        (pixels + features) / 2 + weights,
        counter.get_total_flops(),
        features + weights + rows * _ROW_BYTES,
    )


def _counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping={torch.ops.astr.score_sums: _matching_matrix})


def _matching_matrix(features0: Sequence[int], features1: Sequence[int], *_: Any, **__: Any) -> int:
    batch, count0, channels = features0
    return 2 * batch * count0 * features1[1] * channels
