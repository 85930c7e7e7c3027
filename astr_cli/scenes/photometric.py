"""Random effects of light, lens and sensor, different per image: strong, so that matching cannot rely on grey values.

Images are grey from the start, so of a change of colour only its exposure, gamma and contrast are left.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.geometry import chance, uniform

BLUR_RADIUS = 5


def photometric(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Images (B, 1, H, W) in [0, 1] under other light, another lens and another sensor; same shape, still in [0, 1].

    `strength` from 0 to 1 is the largest share of the changed image in the result; each image draws its own below it.
    """
    changed = _shadows(images, generator)
    changed = _fog(changed, generator)
    changed = _vignette(changed, generator)
    changed = _tone(changed, generator)
    changed = _blur(changed, generator)
    changed = _noise(changed, generator)
    changed = _blocking(changed, generator)
    if strength >= 1.0:
        return changed
    return torch.lerp(images, changed, strength * _draw(images, generator, 0.0, 1.0))


def _draw(images: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    return uniform(generator, (len(images), 1, 1, 1), low, high).to(images.device)


def _some(images: Tensor, generator: torch.Generator, probability: float) -> Tensor:
    return chance(generator, (len(images), 1, 1, 1), probability).to(images.device)


def _axes(images: Tensor) -> tuple[Tensor, Tensor]:
    """x (1, 1, 1, W) and y (1, 1, H, 1) from -1 to 1."""
    height, width = images.shape[-2:]
    x = torch.linspace(-1, 1, width, device=images.device).view(1, 1, 1, -1)
    return x, torch.linspace(-1, 1, height, device=images.device).view(1, 1, -1, 1)


def _field(images: Tensor, generator: torch.Generator, cells: int) -> Tensor:
    """(B, 1, H, W) smooth random field of about -1 to 1."""
    grid = uniform(generator, (len(images), 1, cells, cells), -1.0, 1.0).to(images.device)
    return F.interpolate(grid, size=images.shape[-2:], mode="bilinear", align_corners=True)


def _shadows(images: Tensor, generator: torch.Generator) -> Tensor:
    """Uneven light, and a shadow with a straight or wavy, hard or soft edge."""
    light = torch.exp(0.35 * _field(images, generator, 4) * _draw(images, generator, 0.0, 1.0))
    x, y = _axes(images)
    angle = _draw(images, generator, 0.0, 2 * math.pi)
    wave = _field(images, generator, 6) * _draw(images, generator, 0.0, 0.5)
    edge = x * angle.cos() + y * angle.sin() + wave + _draw(images, generator, -0.6, 0.6)
    softness = torch.exp(_draw(images, generator, math.log(0.01), math.log(0.3)))
    shade = 1 - _draw(images, generator, 0.2, 0.7) * torch.sigmoid(edge / softness)
    return images * light * torch.where(_some(images, generator, 0.4), shade, torch.ones_like(shade))


def _fog(images: Tensor, generator: torch.Generator) -> Tensor:
    """Haze of one grey that thickens in some direction."""
    amount = (_draw(images, generator, 0.05, 0.45) * (1 + 0.6 * _field(images, generator, 3))).clamp(0, 0.7)
    amount = torch.where(_some(images, generator, 0.25), amount, torch.zeros_like(amount))
    return torch.lerp(images, _draw(images, generator, 0.5, 1.0).expand_as(images), amount)


def _vignette(images: Tensor, generator: torch.Generator) -> Tensor:
    x, y = _axes(images)
    fall = 1 - _draw(images, generator, 0.0, 0.5) * (x * x + y * y) / 2
    return images * torch.where(_some(images, generator, 0.5), fall, torch.ones_like(fall))


def _tone(images: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma, contrast about the mean, exposure; values outside [0, 1] are clipped, as by a sensor."""
    gamma = torch.exp(_draw(images, generator, math.log(0.5), math.log(2.0)))
    images = images.clamp(1e-4, 1) ** gamma
    mean = images.mean(dim=(2, 3), keepdim=True)
    contrast = torch.exp(_draw(images, generator, math.log(0.5), math.log(1.6)))
    exposure = torch.exp(_draw(images, generator, math.log(0.65), math.log(1.4)))
    return (((images - mean) * contrast + mean) * exposure + _draw(images, generator, -0.08, 0.08)).clamp(0, 1)


def _blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian blur of unequal sigmas along a random axis: defocus to motion; weaker in small images."""
    count = len(images)
    strongest = min(2.2, max(images.shape[-2:]) / 160)
    main = _draw(images, generator, 0.3, max(0.6, strongest))
    minor = torch.where(_some(images, generator, 0.3), torch.full_like(main, 0.3), main)
    angle = _draw(images, generator, 0.0, math.pi)
    line = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, dtype=torch.float32, device=images.device)
    x, y = line.view(1, 1, 1, -1), line.view(1, 1, -1, 1)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    kernel = torch.exp(-0.5 * ((along / main) ** 2 + (across / minor) ** 2))
    kernel = kernel / kernel.sum(dim=(2, 3), keepdim=True)
    padded = F.pad(images, (BLUR_RADIUS,) * 4, mode="replicate")
    blurred = F.conv2d(padded.transpose(0, 1), kernel, groups=count).transpose(0, 1)
    return torch.where(_some(images, generator, 0.45), blurred, images)


def _noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Read noise and shot noise."""
    sigma = _some(images, generator, 0.6) * _draw(images, generator, 0.0, 0.05)
    grain = torch.randn(images.shape, generator=generator, device=generator.device).to(images.device)
    return (images + sigma * (0.4 + images).sqrt() * grain).clamp(0, 1)


def _blocking(images: Tensor, generator: torch.Generator) -> Tensor:
    """JPEG: 8 x 8 cosine blocks, coarsely rounded, the more so at high frequencies."""
    height, width = images.shape[-2:]
    padded = F.pad(images, (0, -width % 8, 0, -height % 8), mode="replicate")
    basis = _cosine_basis(images.device)
    blocks = padded.unflatten(2, (-1, 8)).unflatten(4, (-1, 8)).transpose(3, 4)  # (B, 1, H/8, W/8, 8, 8)
    frequency = torch.arange(8, dtype=torch.float32, device=images.device)
    coarseness = torch.exp(_draw(images, generator, math.log(0.01), math.log(0.12)))[..., None, None]
    step = coarseness * (1 + 0.5 * (frequency[:, None] + frequency[None, :]))
    rounded = (basis @ blocks @ basis.T / step).round() * step
    back = (basis.T @ rounded @ basis).transpose(3, 4).flatten(4, 5).flatten(2, 3)[:, :, :height, :width]
    return torch.where(_some(images, generator, 0.5), back, images).clamp(0, 1)


def _cosine_basis(device: torch.device) -> Tensor:
    """(8, 8) orthonormal DCT-II; row = frequency."""
    k = torch.arange(8, dtype=torch.float32, device=device)
    basis = torch.cos(math.pi / 8 * (k[None, :] + 0.5) * k[:, None]) / 2
    basis[0] /= math.sqrt(2)
    return basis
