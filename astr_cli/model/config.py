"""The model as data: one frozen config, two presets."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class AstrConfig:
    """Every number that shapes the network. Sections are those of the paper (CVPR 2023) and its supplement;
    docs/model.md has the reasons for what differs."""

    preset: str
    stem: int = 128  # supplement 2.3
    stages: tuple[int, ...] = (128, 196, 256, 256, 256)  # 1/2, 1/4, 1/8, 1/16, 1/32; supplement 2.3
    blocks: int = 2  # residual blocks a stage, as LoFTR
    heads: int = 8  # of 32 channels
    rounds: int = 4  # spot-guided rounds; figure 2
    shared_rounds: bool = False  # NOTE one set of weights for all rounds, in astr-small (docs/model.md, Presets)
    spot_guided: bool = True  # False: linear attention in place of the spots, to measure what they bring
    window: int = 5  # l, side of the similarity neighbourhood and of a spot window; section 3.2
    top_k: int = 4  # neighbours whose windows join the spot; section 3.2
    temperature: float = 0.1  # start of each matching matrix's learned temperature (docs/model.md, Temperatures)
    train_side: int = 832  # W_train = H_train of the normalised positional encoding; supplement 2.2
    border: int = 2  # cells at the image border that give no match, as LoFTR
    fine_map: int = 128  # channels of F2
    fine_width: int = 128  # channels of the fine layers
    fine_heads: int = 8
    fine_tokens: int = 5  # tokens along a window's side; s = 5 at ratio 1, section 3.3
    fine_zoom: float = 0.5  # width of the closer look's windows; NOTE the paper looks once (docs/model.md, Closer look)
    fine_hidden: int = 256  # widest layer of the correction; NOTE not in the paper (docs/model.md, Correction)
    ratio_limit: float = 3.0  # scale ratios are clamped to [1/limit, limit] (docs/model.md, Scale ratios)
    focal_ratio: bool = True  # NOTE s_i / s_j = d_j / d_i in the paper (docs/model.md, Scale ratios)

    @property
    def channels(self) -> int:
        """C, the width of F8 and F32."""
        return self.stages[-1]


_SMALL = AstrConfig(
    preset="astr-small",
    stem=32,
    stages=(32, 48, 96, 128, 128),
    heads=4,
    shared_rounds=True,
    fine_map=48,
    fine_width=64,
    fine_heads=4,
)
PRESETS: dict[str, AstrConfig] = {
    "astr": AstrConfig(preset="astr"),
    "astr-small": _SMALL,
    "astr-small-linear": replace(_SMALL, preset="astr-small-linear", spot_guided=False),
}
