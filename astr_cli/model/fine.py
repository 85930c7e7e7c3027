"""The fine stage (paper section 3.3; docs/model.md, Fine stage): one point of each coarse match moves inside a window
that adaptive scaling has sized."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from astr_cli.model.config import AstrConfig
from astr_cli.model.layers import join_heads, linear_attention, split_heads

# Windows of all pairs are refined in blocks of this many, padded: a result never depends on how many others there
# are, not even in its last bit, as it would through the row count of a matrix product. A GPU wants large ones.
BLOCK, GPU_BLOCK = 64, 2048

# NOTE the paper takes the expectation over the whole window; a second peak or a floor of the heat map pulls that to the
# window's centre. Here it is taken again under a Gaussian about itself, a few times, and so settles on one peak
# (docs/model.md, Peak).
PEAK_SIGMA = 0.6  # half-widths of the window
PEAK_ROUNDS = 3


class Windows(NamedTuple):
    """The two sides of M matches for the fine stage."""

    points0: Tensor  # (M, 2) float32, window centres in matched pixels of image0
    points1: Tensor  # (M, 2)
    ratios: Tensor  # (M,) float32, size of an object in image1 over its size in image0
    coarse0: Tensor  # (M, C), aggregated coarse features of the cells
    coarse1: Tensor  # (M, C)


class Located(NamedTuple):
    """The places in the other image of one image's fixed points; matched pixels, from `Windows`' points there."""

    start: Tensor  # (M, 2) centre of the window searched
    reach: Tensor  # (M, 1) from there to its last token
    log_heat: Tensor  # (M, tokens)
    peak: Tensor  # (M, 2) offsets where the heat map peaks
    offsets: Tensor  # (M, 2) the result: the peak, corrected in the closer look


class Refined(NamedTuple):
    """Both looks at M matches, each both ways: found in image0 while points1 rest, and in image1 while points0 rest."""

    first: tuple[Located, Located]
    last: tuple[Located, Located]


class FineMaps(NamedTuple):
    """F2 of B pairs, and how many of the windows, which stand in the order of the pairs, belong to each."""

    fine0: Tensor  # (B, fine_map, H0/2, W0/2)
    fine1: Tensor  # (B, fine_map, H1/2, W1/2)
    counts: list[int]

    def of(self, pairs: np.ndarray) -> "FineMaps":
        """The inputs of windows of these pairs; numbers of pairs, rising, one per window."""
        first = int(pairs[0])
        some = slice(first, int(pairs[-1]) + 1)
        return FineMaps(self.fine0[some], self.fine1[some], np.bincount(pairs - first).tolist())


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
            nn.Linear(2 * width, 2 * width, bias=False), nn.ReLU(inplace=True), nn.Linear(2 * width, width, bias=False)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """x and source (M, tokens, width) -> x updated."""
        query = split_heads(self.query(x), self.heads)
        key, value = (split_heads(part, self.heads) for part in self.key_value(source).chunk(2, dim=2))
        message = self.norm_message(self.merge(join_heads(linear_attention(query, key, value))))
        return x + self.norm(self.mlp(torch.cat([x, message.to(x.dtype)], dim=2)))


class Correction(nn.Module):
    """Corrects a peak by how each token of one window correlates with each of the other's.

    NOTE the paper, as LoFTR, asks the middle token of the reference window alone. All of them together see how the two
    patches lie on each other, as least squares matching does, and a peak between tokens is no longer pulled to them
    (docs/model.md, Correction).
    """

    def __init__(self, tokens: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(tokens**2),
            nn.Linear(tokens**2, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden // 2),
            nn.GELU(),
            nn.Linear(hidden // 2, 2),
        )

    def forward(self, reference: Tensor, tokens: Tensor) -> Tensor:
        """Windows (M, tokens, width) -> (M, 2) in half-widths of the window; always float32."""
        with torch.autocast(tokens.device.type, enabled=False):
            volume = reference.float() @ tokens.float().transpose(1, 2) / reference.shape[2] ** 0.5
            return self.layers(volume.flatten(1))


class FineStage(nn.Module):
    """Windows of F2 to sub-pixel offsets: a look at whole windows, and a closer one around the first result."""

    def __init__(self, config: AstrConfig) -> None:
        super().__init__()
        self.config = config
        width = config.fine_width
        self.coarse_projection = nn.Linear(config.channels, width, bias=False)
        self.merge = nn.Linear(config.fine_map + width, width)
        self.self_layer = WindowLayer(width, config.fine_heads)
        self.cross_layer = WindowLayer(width, config.fine_heads)
        self.correction = Correction(config.fine_tokens**2, config.fine_hidden)

    def forward(self, maps: FineMaps, windows: Windows, one_way: bool = False) -> Refined:
        """Locate every match in both images; `one_way` omits the closer look into image0.

        NOTE the paper locates it in one image and looks once (docs/model.md, Both ways, Closer look).
        """
        scale0, scale1 = window_scales(windows.ratios)
        middle = torch.zeros_like(windows.points0)
        tokens0, tokens1 = self.look(maps, windows, 1.0)
        first = self.locate(tokens1, tokens0, middle, scale0), self.locate(tokens0, tokens1, middle, scale1)
        start0, start1 = (side.offsets.detach() for side in first)
        zoom = self.config.fine_zoom
        tokens0, tokens1 = self.look(maps, windows._replace(points1=windows.points1 + start1), zoom)
        last1 = self.locate(tokens0, tokens1, start1, scale1 * zoom, corrected=True)
        if one_way:
            return Refined(first, (first[0], last1))
        tokens0, tokens1 = self.look(maps, windows._replace(points0=windows.points0 + start0), zoom)
        last0 = self.locate(tokens1, tokens0, start0, scale0 * zoom, corrected=True)
        return Refined(first, (last0, last1))

    def look(self, maps: FineMaps, windows: Windows, zoom: float) -> tuple[Tensor, Tensor]:
        """Tokens (M, tokens, width) of both images' windows, `zoom` times as wide as usual, after the layers."""
        scale0, scale1 = window_scales(windows.ratios)
        tokens0 = self.tokens(maps.fine0, maps.counts, windows.points0, scale0 * zoom, windows.coarse0)
        tokens1 = self.tokens(maps.fine1, maps.counts, windows.points1, scale1 * zoom, windows.coarse1)
        tokens0, tokens1 = self.self_layer(tokens0, tokens0), self.self_layer(tokens1, tokens1)
        return self.cross_layer(tokens0, tokens1), self.cross_layer(tokens1, tokens0)

    def tokens(self, fine: Tensor, counts: list[int], points: Tensor, scale: Tensor, coarse: Tensor) -> Tensor:
        """Sample windows and join each with its coarse feature: (M, tokens, width)."""
        crops = sample_windows(fine, counts, points, scale, self.config.fine_tokens)
        # One linear layer of the joined channels, taken apart: the coarse half is the same for all tokens of a window.
        own, shared = self.merge.weight.split((crops.shape[2], self.coarse_projection.out_features), dim=1)
        context = F.linear(self.coarse_projection(coarse), shared, self.merge.bias)
        return F.linear(crops, own) + context[:, None]

    def locate(
        self, reference: Tensor, tokens: Tensor, start: Tensor, scale: Tensor, corrected: bool = False
    ) -> Located:
        """Find the middle of reference windows among the tokens of windows at `start`."""
        log_heat = correlate(reference[:, reference.shape[1] // 2], tokens)
        reach = 2.0 * (self.config.fine_tokens // 2) * scale[:, None]  # a plain window's tokens stand 2 pixels apart
        peak = expect(log_heat, token_places(self.config.fine_tokens, tokens.device))
        found = (peak.detach() + self.correction(reference, tokens)).clamp(-1, 1) if corrected else peak
        return Located(start, reach, log_heat, start + peak * reach, start + found * reach)

    def refine(self, maps: FineMaps, windows: Windows, one_way: bool = False) -> tuple[Tensor, Tensor]:
        """Offsets (M, 2) in image0 and image1 of all pairs' windows.

        In padded blocks of equal size: bounded memory, and bitwise the same for any set of windows.
        """
        count = len(windows.ratios)
        if count == 0:
            return torch.zeros_like(windows.points0), torch.zeros_like(windows.points1)
        size = GPU_BLOCK if maps.fine0.is_cuda else BLOCK
        padding = -count % size
        padded = Windows(*(torch.cat([part, part[-1:].expand(padding, *part.shape[1:])]) for part in windows))
        pairs = np.pad(np.repeat(np.arange(len(maps.counts)), maps.counts), (0, padding), mode="edge")
        blocks = []
        for start in range(0, count + padding, size):
            block = slice(start, start + size)
            blocks.append(self(maps.of(pairs[block]), Windows(*(part[block] for part in padded)), one_way).last)
        offsets0, offsets1 = (torch.cat([block[side].offsets for block in blocks])[:count] for side in (0, 1))
        return offsets0, offsets1


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

    ratio = size in image1 over size in image0, so the window of the image that shows objects larger is widened
    (docs/model.md, Windows).
    """
    return (1.0 / ratios).clamp(min=1.0), ratios.clamp(min=1.0)


def token_places(side: int, device: torch.device) -> Tensor:
    """Places of a window's tokens, row-major, (side * side, 2) x, y in [-1, 1]."""
    axis = torch.linspace(-1.0, 1.0, side, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def sample_windows(fine: Tensor, counts: list[int], points: Tensor, scale: Tensor, side: int) -> Tensor:
    """Bilinear samples of F2 (B, C, h, w) on side x side tokens around points (M, 2) in matched pixels: (M, side^2, C).

    The first counts[0] points lie in the first map, and so on. Tokens stand scale (M,) fine cells apart; fine cell x
    stands at pixel 2 x + 0.5. Beyond the map the border repeats.
    """
    height, width = fine.shape[2:]
    places = token_places(side, fine.device) * (side // 2)
    where = (points[:, None] - 0.5) / 2 + places * scale[:, None, None]
    size = torch.tensor([width, height], device=fine.device)
    normalised = (where + 0.5) / size * 2 - 1
    # All maps in one call, however unlike their shares: a call for each map keeps a GPU waiting.
    padded = pad_sequence(normalised.split(counts), batch_first=True)
    sampled = F.grid_sample(fine.float(), padded, mode="bilinear", padding_mode="border", align_corners=False)
    rows = sampled.permute(0, 2, 3, 1)
    return torch.cat([part[:count] for part, count in zip(rows, counts, strict=True)])
