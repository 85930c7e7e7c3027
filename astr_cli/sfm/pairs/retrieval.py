"""Pairs of similar photos, by ASTR's own backbone: no further weights. Needs torch.

A photo's descriptor is a VLAD (Jégou et al. 2010) of its features at 1/8 resolution, with a vocabulary learned from
the photos at hand. On room sequences with known poses (74 frames of train/rgbd, positives within 1 m and 35 degrees)
5 nearest neighbours were right in 79% of cases with 64 words, 77% with 16; the mean feature in 63%; chance is 18%.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import vq

from astr_cli.errors import AstrError
from astr_cli.images.catalogue import catalogue
from astr_cli.images.info import ImageInfo
from astr_cli.matching.photos.geometry import Intrinsics, photo_geometries
from astr_cli.matching.photos.loader import Loader
from astr_cli.matching.resources.compute import match_settings, resolve_compute
from astr_cli.matching.resources.progress import Progress
from astr_cli.matching.run.model_runner import Runner
from astr_cli.model.checkpoint import load_weights
from astr_cli.options.matching import MatchingOptions
from astr_cli.resources import weights_path
from astr_cli.sfm.pairs.generators import Proposal, ranked_by_similarity

LONG_SIDE = 320  # pixels; what the figures above were measured at
WORDS = 64
SAMPLED_PHOTOS = 128  # photos that the vocabulary is learned from
SAMPLED_FEATURES = 200  # of each of those
ROUNDS = 15
SEED = 0
AHEAD = 8  # photos that may be decoded before their turn
MOST_PHOTOS = 20_000  # their descriptors take 0.7 GB

Floats = NDArray[np.float32]
Extract = Callable[[Sequence[str]], Iterable[Floats]]


def retrieval(
    root: Path,
    names: Sequence[str],
    neighbours: int,
    weights: str = "astr-small",
    device: str = "auto",
    tell: Callable[[str], None] = lambda line: None,
) -> Proposal:
    """Every photo with the `neighbours` most similar to it; more similar ones rank higher.

    Raises AstrError: a photo that cannot be read, too many photos, weights or a device that are not available.
    """
    if len(names) > MOST_PHOTOS:
        raise AstrError(f"{root}: {len(names)} photos are more than the limit of {MOST_PHOTOS}; split the folder")
    found = catalogue(root, names)
    if found.errors:
        raise AstrError(f"{found.complaint()}; repair or remove the bad photos in {root}")
    with _extractor(found.infos, weights, device) as extract:
        tell(f"computing features of {len(names)} photos")
        descriptors = describe(names, extract, tell)
    return ranked_by_similarity(names, descriptors, neighbours)


def most_similar(
    root: Path,
    queries: Sequence[str],
    photos: Sequence[str],
    neighbours: int,
    weights: str,
    device: str,
    tell: Callable[[str], None],
) -> list[tuple[int, int]]:
    """For each query its most similar photos, as numbers of both, the best first.

    Raises AstrError as `retrieval` does.
    """
    found = catalogue(root, [*queries, *photos])
    if found.errors:
        raise AstrError(f"{found.complaint()}; repair or remove the bad photos in {root}")
    with _extractor(found.infos, weights, device) as extract:
        descriptors = describe([*photos, *queries], extract, tell)
    similarity = descriptors[len(photos) :] @ descriptors[: len(photos)].T
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :neighbours]
    return [(query, int(photo)) for query in range(len(queries)) for photo in best[query]]


def describe(names: Sequence[str], extract: Extract, tell: Callable[[str], None] = lambda line: None) -> Floats:
    """(N, D) unit descriptors. extract: names -> of each in turn, (M, C) features of unit length."""
    progress, done = Progress(tell, "computing features", len(names), "photo"), 0

    def extracted(part: Sequence[str]) -> Iterator[Floats]:
        nonlocal done
        for features in extract(part):
            done += 1
            progress.at(done)
            yield features

    sampled = names[:: max(1, -(-len(names) // SAMPLED_PHOTOS))]
    known = dict(zip(sampled, extracted(sampled), strict=True))
    words = vocabulary(list(known.values()))
    others = extracted([name for name in names if name not in known])
    rows = np.empty((len(names), words.size), np.float32)
    for number, name in enumerate(names):
        rows[number] = vlad(known.pop(name) if name in known else next(others), words)
    return rows


def vocabulary(features: Sequence[Floats]) -> Floats:
    """(W, C) centres of the features of some photos, by k-means from a fixed seed."""
    random = np.random.default_rng(SEED)
    sample = np.concatenate([each[random.permutation(len(each))[:SAMPLED_FEATURES]] for each in features])
    words = sample[random.permutation(len(sample))[:WORDS]].copy()
    for _ in range(ROUNDS):
        nearest, _ = vq(sample, words)
        total, count = np.zeros_like(words), np.bincount(nearest, minlength=len(words))
        np.add.at(total, nearest, sample)
        words[count > 0] = total[count > 0] / count[count > 0, None]
    return words


def vlad(features: Floats, words: Floats) -> Floats:
    """(W * C,) of unit length: for each word, the direction in which the features (M, C) nearest to it differ."""
    nearest, _ = vq(features, words)
    residuals = np.zeros_like(words)
    np.add.at(residuals, nearest, features - words[nearest])
    residuals /= np.maximum(np.linalg.norm(residuals, axis=1, keepdims=True), 1e-9)
    flat: Floats = residuals.ravel()
    return flat / max(float(np.linalg.norm(flat)), 1e-9)


@contextmanager
def _extractor(infos: Mapping[str, ImageInfo], weights: str, device: str) -> Iterator[Extract]:
    options = MatchingOptions(weights=weights, device=device, long_side=LONG_SIDE)
    compute = resolve_compute(options)
    model = load_weights(weights_path(options.weights)).model
    runner = Runner(model, compute.device, compute.precision, match_settings(options))
    views = photo_geometries(infos, Intrinsics({}, ()), compute.long_side)

    def extract(names: Sequence[str]) -> Iterator[Floats]:
        for position, name in enumerate(names):
            loader.prefetch(names[position : position + AHEAD])
            coarse = runner.extract(loader.take(name).gray).coarse8[0].float().cpu().numpy()
            features = coarse.reshape(len(coarse), -1).T
            yield features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)

    with closing(Loader(infos, views, options.workers)) as loader:
        yield extract
