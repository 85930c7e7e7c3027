"""The values of a training run; stored with every checkpoint."""

import dataclasses
import difflib
import json
from dataclasses import dataclass
from typing import Any

from astr_cli.errors import AstrError
from astr_cli.files import parse_json
from astr_cli.train.scene_mix import SceneShares

Change = tuple[str, int | float | str]


@dataclass(frozen=True)
class TrainConfig:
    """The recipe of a run. Comments explain departures from the paper (ASTR, CVPR 2023); docs/model.md has more."""

    preset: str = "astr-small"
    seed: int = 1
    side: int = 192  # pixels; the paper trains at 832, too much for a CPU
    large_side: int = 448  # pixels; some batches have fewer, larger pairs: more wrong cells, as in real photos
    large_share: float = 0.0  # share of such batches
    batch: int = 8  # pairs per process; 8 is the paper's total batch
    accumulate: int = 1  # batches per step, each with its own kind of scene: gives a CPU the large steps of a GPU
    processes: int = 1  # on one machine, gradients averaged; on a CPU two with one thread are faster than one with two
    steps: int = 20_000  # end of the schedule, which begins at 0 or at a warm start
    warmup: int = 400  # steps; the paper's 15,000 belong to a longer run
    rate: float = 1e-3  # peak, as in the paper
    last_rate: float = 3e-5  # NOTE end of a cosine, which helps a short run more than the paper's halvings
    decay: int = 0  # last steps in which the rate falls; constant before, so a run can continue; 0 = all steps
    weight_decay: float = 0.1  # LoFTR's
    clip: float = 0.5  # gradient norm, LoFTR's
    sampled: float = 0.5  # share of the true matches that supervises the matrices, supplement 2.1
    fine_share: float = 0.2  # share of the cells whose true matches train the fine stage, supplement 2.1
    fine_least: int = 200  # but at least this many per batch, if there are as many
    spot_weight: float = 0.5  # weight of the mean loss of the matching matrices of the spot rounds
    alone_weight: float = 0.2  # NOTE weight for cells known to have no partner; the paper has no such term
    fine_weight: float = 1.0
    heat_weight: float = 1.0  # NOTE an offset tells little about faults of its heat map; the paper has no such term
    correction_weight: float = 2.0  # NOTE for the correction, which the paper lacks; in half-widths, so small numbers
    frozen_norm: bool = False  # BatchNorm folded as in exports: no noise from small batches, and faster; needs --init
    only_matcher: bool = False  # freeze the fine stage and leave out its loss; follow it with only_fine
    only_fine: bool = False  # freeze everything but the fine stage: three times as many pairs per second for a new one
    focal: float = 2.0  # gamma; 0 is the plain negative log likelihood
    ratio_jitter: float = 0.15  # sigma of the log-normal noise on the true scale ratio
    ratio_plain: float = 0.3  # share of windows that train at ratio 1
    planes_share: float = SceneShares.planes  # shares of the kinds of scenes among the batches
    relief_share: float = SceneShares.relief
    rooms_share: float = SceneShares.rooms
    facades_share: float = SceneShares.facades
    rgbd_share: float = SceneShares.rgbd
    lifted_share: float = SceneShares.lifted
    megadepth_share: float = SceneShares.megadepth
    model_share: float = SceneShares.model
    difficulty: float = 1.0  # of the views, drawn from 0 to this for each batch; 0.6 learns faster in the first hours
    hard_share: float = 0.0  # share of batches with scale ratios from 2 to 4, or planes at 60 to 75 degrees
    floating_share: float = 0.0  # share of rendered batches with objects before the scene: occlusion
    full_light_share: float = 0.0  # share of batches with photometric changes at full strength
    light: float = 0.6  # strength of photometric changes, drawn from 0 to this for each image; 1 is mostly noise
    ema: float = 0.999
    autocast: bool = True  # bf16 for convolutions and matrix products

    def to_json(self) -> str:
        """Canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "TrainConfig":
        """The inverse of `to_json`."""
        # Older files lack some values.
        absent = {"megadepth_share": 0.0, "correction_weight": 0.0, "only_fine": False, "large_share": 0.0}
        absent |= {"accumulate": 1, "decay": 0, "frozen_norm": False, "only_matcher": False}
        absent |= {"hard_share": 0.0, "full_light_share": 0.0, "model_share": 0.0}
        absent |= {"lifted_share": 0.0, "floating_share": 0.0}
        values = {**absent, **parse_json(text)}
        if "planes_share" not in values:  # written when planes and reliefs were the only kinds
            rest = {"rooms_share": 0.0, "facades_share": 0.0, "rgbd_share": 0.0}
            values = {**values, **rest, "planes_share": 1 - values["relief_share"]}
        return TrainConfig(**values)

    def changed(self, changes: tuple[Change, ...]) -> "TrainConfig":
        """A copy with some fields set."""
        values: dict[str, Any] = dict(changes)
        return dataclasses.replace(self, **values)

    def differences(self, other: "TrainConfig") -> str:
        """'rate 0.001 -> 0.002, ...', empty when equal."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))
        return ", ".join(f"{name} {a} -> {b}" for name, a, b in pairs if a != b)


def parse_change(text: str) -> Change:
    """'rate=0.001' as a change of that field.

    Raises AstrError if there is no such field (with the nearest name) or the value has the wrong type.
    """
    name, _, value = text.partition("=")
    defaults = dataclasses.asdict(TrainConfig())
    if name not in defaults:
        near = difflib.get_close_matches(name, defaults, n=1, cutoff=0.0)[0]
        raise AstrError(f"--set {text}: the recipe has no '{name}'; did you mean '{near}'?")
    kind = type(defaults[name])
    try:
        return name, {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
    except (KeyError, ValueError):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise AstrError(f"--set {text}: '{name}' takes {expected}") from None
