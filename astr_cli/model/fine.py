"""The fine stage: one point of each coarse match moves inside a window that adaptive scaling has sized."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from astr_cli.model.config import AstrConfig
from astr_cli.model.layers import join_heads, linear_attention, split_heads

# Windows are refined in blocks of this many, padded: a result never depends on how many others there are, not even
# in its last bit, as it would through the row count of a matrix product.
BLOCK = 64

# NOTE the paper takes the expectation over the whole window; a second peak or a floor of the heat map pulls that to the
# window's centre. Here it is taken again under a Gaussian about itself, a few times, and so settles on one peak.
PEAK_SIGMA = 0.6  # half-widths of the window
PEAK_ROUNDS = 3


class Windows(NamedTuple):
    """The two sides of M matches for the fine stage."""

    points0: Tensor  # (M, 2) float32, window centres in working pixels of image0
    points1: Tensor  # (M, 2)
    ratios: Tensor  # (M,) float32, size of a thing in image1 over its size in image0
    coarse0: Tensor  # (M, C), aggregated coarse features of the cells
    coarse1: Tensor  # (M, C)


class Refined(NamedTuple):
    """Offsets from the window centres in working pixels, and the log heat maps over the tokens that they come from."""

    offsets0: Tensor  # (M, 2), moves points0 while points1 stays
    offsets1: Tensor  # (M, 2), moves points1 while points0 stays
    log_heat0: Tensor  # (M, tokens) over the window in image0
    log_heat1: Tensor  # (M, tokens)


class WindowLayer(nn.Module):
    """Linear attention from one set of tokens to another, then an MLP, as LoFTR's encoder layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.merge = nn.Linear(width, width, bias=False)
        self.norm_message = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(2 * width, 2 * width, bias=False), nn.ReLU(), nn.Linear(2 * width, width, bias=False)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """x and source (M, tokens, width) -> x updated."""
        query = split_heads(self.query(x), self.heads)
        key, value = (split_heads(part, self.heads) for part in self.key_value(source).chunk(2, dim=2))
        message = self.norm_message(self.merge(join_heads(linear_attention(query, key, value))))
        return x + self.norm(self.mlp(torch.cat([x, message.to(x.dtype)], dim=2)))


class FineStage(nn.Module):
    """Windows of F2 to sub-pixel offsets, for both ways of a match at once (their window sizes are the same)."""

    def __init__(self, config: AstrConfig) -> None:
        super().__init__()
        self.config = config
        width = config.fine_width
        self.coarse_projection = nn.Linear(config.channels, width, bias=False)
        self.merge = nn.Linear(config.fine_map + width, width)
        self.self_layer = WindowLayer(width, config.fine_heads)
        self.cross_layer = WindowLayer(width, config.fine_heads)

    def forward(self, fine0: Tensor, fine1: Tensor, windows: Windows) -> Refined:
        """F2 maps (fine_map, H/2, W/2) of one pair and its windows to `Refined`, every window for itself."""
        scale0, scale1 = window_scales(windows.ratios)
        tokens0 = self.tokens(fine0, windows.points0, scale0, windows.coarse0)
        tokens1 = self.tokens(fine1, windows.points1, scale1, windows.coarse1)
        return self.attend(tokens0, tokens1, scale0, scale1)

    def attend(self, tokens0: Tensor, tokens1: Tensor, scale0: Tensor, scale1: Tensor) -> Refined:
        """Tokens (M, tokens, width) of both sides to offsets."""
        tokens0, tokens1 = self.self_layer(tokens0, tokens0), self.self_layer(tokens1, tokens1)
        tokens0, tokens1 = self.cross_layer(tokens0, tokens1), self.cross_layer(tokens1, tokens0)
        centre = tokens0.shape[1] // 2
        log_heat1 = correlate(tokens0[:, centre], tokens1)
        log_heat0 = correlate(tokens1[:, centre], tokens0)
        places = token_places(self.config.fine_tokens, tokens0.device)
        reach = 2.0 * (self.config.fine_tokens // 2)  # pixels from a plain window's centre to its last token
        return Refined(
            expect(log_heat0, places) * reach * scale0[:, None],
            expect(log_heat1, places) * reach * scale1[:, None],
            log_heat0,
            log_heat1,
        )

    def refine(self, fine0: Tensor, fine1: Tensor, windows: Windows) -> Refined:
        """As `forward`, in padded blocks of equal size: bounded memory, and bitwise the same for any set of windows."""
        count = len(windows.ratios)
        if count == 0:
            return self(fine0, fine1, windows)
        padding = -count % BLOCK
        padded = Windows(*(torch.cat([part, part[:1].expand(padding, *part.shape[1:])]) for part in windows))
        blocks = [
            self(fine0, fine1, Windows(*(part[start : start + BLOCK] for part in padded)))
            for start in range(0, count + padding, BLOCK)
        ]
        return Refined(*(torch.cat(parts)[:count] for parts in zip(*blocks, strict=True)))

    def tokens(self, fine: Tensor, points: Tensor, scale: Tensor, coarse: Tensor) -> Tensor:
        """Sample windows and join each with its coarse feature: (M, tokens, width)."""
        crops = sample_windows(fine, points, scale, self.config.fine_tokens)
        context = self.coarse_projection(coarse)[:, None].expand(-1, crops.shape[1], -1)
        return self.merge(torch.cat([crops.to(context.dtype), context], dim=2))


def correlate(reference: Tensor, tokens: Tensor) -> Tensor:
    """Log heat map of references (M, width) over tokens (M, tokens, width); float32 whatever the compute type."""
    with torch.autocast(tokens.device.type, enabled=False):
        similarity = (tokens.float() @ reference.float()[:, :, None])[..., 0] / reference.shape[1] ** 0.5
        return torch.log_softmax(similarity, dim=1)


def expect(log_heat: Tensor, places: Tensor) -> Tensor:
    """Expected position of the peak of heat maps (M, tokens), (M, 2) in half-widths of the window."""
    mean = log_heat.exp() @ places
    for _ in range(PEAK_ROUNDS):
        apart = (places - mean[:, None]).square().sum(dim=2)
        mean = torch.softmax(log_heat - apart / (2 * PEAK_SIGMA**2), dim=1) @ places
    return mean


def window_scales(ratios: Tensor) -> tuple[Tensor, Tensor]:
    """Window sizes over the plain window's, never below 1: the truth may lie anywhere within +-4 px (section 3.3).

    ratio = size in image1 over size in image0, so the window of the image that shows things larger is widened.
    """
    return (1.0 / ratios).clamp(min=1.0), ratios.clamp(min=1.0)


def token_places(side: int, device: torch.device) -> Tensor:
    """Places of a window's tokens, row-major, (side * side, 2) x, y in [-1, 1]."""
    axis = torch.linspace(-1.0, 1.0, side, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def sample_windows(fine: Tensor, points: Tensor, scale: Tensor, side: int) -> Tensor:
    """Bilinear samples of F2 (C, h, w) on side x side tokens around points (M, 2) in working pixels: (M, side^2, C).

    Tokens stand scale (M,) fine cells apart; fine cell x stands at pixel 2 x + 0.5. Beyond the map the border repeats.
    """
    height, width = fine.shape[1:]
    places = token_places(side, fine.device) * (side // 2)
    where = (points[:, None] - 0.5) / 2 + places * scale[:, None, None]
    size = torch.tensor([width, height], device=fine.device)
    normalised = (where + 0.5) / size * 2 - 1
    sampled = F.grid_sample(
        fine[None].float(), normalised[None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0].permute(1, 2, 0)
