"""Building blocks that several stages share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def apply_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the masked cells of x (B, C, H, W); mask (B, H, W) bool or None = all valid."""
    return x if mask is None else x * mask[:, None].to(x.dtype)


def both(
    function: Callable[..., Tensor], first: tuple[Tensor, ...], second: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """Apply `function` to the arguments of image0 and of image1, as one batch when all shapes agree."""
    if all(a.shape == b.shape for a, b in zip(first, second, strict=True)):
        joint = function(*(torch.cat(pair) for pair in zip(first, second, strict=True)))
        out0, out1 = joint.chunk(2)
        return out0, out1
    return function(*first), function(*second)


class ConvNorm(nn.Module):
    """Convolution without bias and BatchNorm; after folding (docs/model.md, Weights) one convolution with bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, folded: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=folded)
        self.norm = None if folded else nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, inputs, H, W) -> (B, outputs, H/stride, W/stride), masked cells zero; mask at the output's size."""
        x = self.conv(x)
        return apply_mask(x if self.norm is None else self.norm(x), mask)


class MapNorm(nn.LayerNorm):
    """LayerNorm over the channels of each cell of a map (B, C, H, W): independent of the image's size."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def linear_attention(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None = None) -> Tensor:
    """Attention with the feature map elu + 1 in O(N) (LoFTR section 3.2).

    query (B, heads, Nq, D), key and value (B, heads, Nk, D), key_mask (B, Nk) bool; returns (B, heads, Nq, D) in
    value's dtype. Sums over thousands of keys are taken in float32. Without a valid key the result is zero.
    """
    features_q = F.elu(query).add_(1).float()
    features_k = F.elu(key).add_(1).float()
    values = value.float()
    if key_mask is not None:
        features_k = features_k * key_mask[:, None, :, None]
    with torch.autocast(query.device.type, enabled=False):
        features_k = features_k * (1.0 / key.shape[2])  # keeps the sums near one whatever the image's size
        summary = features_k.transpose(-1, -2) @ values  # (B, heads, D, D)
        # Not as a product with a vector, which takes longer than the rest when there are many small ones.
        total = (features_q * features_k.sum(dim=2, keepdim=True)).sum(dim=3, keepdim=True).clamp(min=1e-6)
        return ((features_q @ summary) / total).to(value.dtype)


def full_attention(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None = None) -> Tensor:
    """Softmax attention to all keys; shapes as `linear_attention`. Without a valid key the result is zero."""
    if key_mask is None:
        return F.scaled_dot_product_attention(query, key, value)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=key_mask[:, None, None, :])
    return attended.masked_fill(~key_mask.any(dim=1)[:, None, None, None], 0.0)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, C) -> (B, heads, N, C / heads)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, heads, N, D) -> (B, N, heads * D)."""
    return x.transpose(1, 2).flatten(2)


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C), row-major; free of copies in channels_last memory."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W) in channels_last memory."""
    return tokens.unflatten(1, grid).permute(0, 3, 1, 2)
