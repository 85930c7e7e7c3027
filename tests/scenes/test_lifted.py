"""Photos with depth as surfaces: exact depth, the same surface in both views, walls and holes unknown."""

from __future__ import annotations

import torch

from astr_cli.scenes.geometry import pixel_grid
from astr_cli.scenes.lifted import Sheets, render_lifted
from astr_cli.scenes.textures import procedural_textures
from astr_cli.train.supervision import supervise

HEIGHT, WIDTH, FOCAL = 120, 160, 150.0
NORMAL = torch.tensor([0.15, -0.1, 0.5])  # of the plane NORMAL . X = 1, two units away


def tilted(count: int) -> Sheets:
    """A textured plane; 1 / depth is a linear function of the pixel, so the sheet has no error."""
    photos = procedural_textures(count, (HEIGHT, WIDTH), torch.Generator().manual_seed(3))
    intrinsics = torch.tensor([[FOCAL, 0, WIDTH / 2 - 0.5], [0, FOCAL, HEIGHT / 2 - 0.5], [0, 0, 1]])
    rays = torch.linalg.inv(intrinsics) @ pixel_grid((HEIGHT, WIDTH), torch.device("cpu"))
    inverse = (NORMAL @ rays).reshape(1, 1, HEIGHT, WIDTH).expand(count, -1, -1, -1).contiguous()
    return Sheets(photos, inverse, torch.ones_like(inverse), intrinsics.expand(count, -1, -1).contiguous())


def test_the_labels_of_a_plane_are_exact() -> None:
    scene = render_lifted(tilted(6), (96, 128), torch.Generator().manual_seed(1))
    truth = supervise(scene)
    assert len(truth.batch) > 300
    for depth, intrinsics in ((scene.depth0, scene.intrinsics0), (scene.depth1, scene.intrinsics1)):
        assert depth.shape == (6, 96, 128) and (depth > 0).float().mean() > 0.4
        points = torch.linalg.inv(intrinsics) @ pixel_grid((96, 128), depth.device) * depth.flatten(1)[:, None]
        for row in range(6):  # all known points of a view lie on one plane
            known = points[row][:, depth[row].flatten() > 0]
            normal = torch.linalg.lstsq(known.T.double(), torch.ones(known.shape[1], 1, dtype=torch.float64)).solution
            assert ((known.T.double() @ normal) - 1).abs().max() < 2e-3


def test_both_views_show_the_same_grey_at_the_true_matches() -> None:
    scene = render_lifted(tilted(4), (96, 128), torch.Generator().manual_seed(5), difficulty=0.3)
    smooth = torch.nn.functional.avg_pool2d
    truth = supervise(scene)
    grey0 = smooth(scene.image0, 5, 1, 2)[truth.batch, 0].flatten(1)
    rows, columns = truth.cells0 // 16 * 8 + 4, truth.cells0 % 16 * 8 + 4
    here = grey0[torch.arange(len(rows)), rows * 128 + columns]
    centre1 = torch.stack([truth.cells1 % 16 * 8 + 3.5, truth.cells1 // 16 * 8 + 3.5], dim=1)
    place = (centre1 + truth.offsets1 + 0.5).round().long()
    inside = ((place >= 0) & (place < torch.tensor([128, 96]))).all(dim=1)
    grey1 = smooth(scene.image1, 5, 1, 2)[truth.batch, 0].flatten(1)
    there = grey1[torch.arange(len(rows)), (place[:, 1].clamp(0, 95) * 128 + place[:, 0].clamp(0, 127))]
    correlation = torch.corrcoef(torch.stack([here[inside], there[inside]]))[0, 1]
    assert correlation > 0.9


def test_what_is_not_trusted_has_no_depth() -> None:
    sheets = tilted(2)
    sheets.trusted[:, :, :, : WIDTH // 2] = 0
    scene = render_lifted(sheets, (96, 128), torch.Generator().manual_seed(1))
    whole = render_lifted(tilted(2), (96, 128), torch.Generator().manual_seed(1))
    known = scene.depth0 > 0
    assert 0 < known.float().mean() < 0.8 * (whole.depth0 > 0).float().mean()
    assert torch.equal(scene.depth0[known], whole.depth0[known])
    assert torch.equal(scene.image0, whole.image0)


def test_the_generator_alone_decides() -> None:
    first, second = (render_lifted(tilted(2), (64, 64), torch.Generator().manual_seed(9), hard=True) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    ratios = supervise(render_lifted(tilted(8), (96, 96), torch.Generator().manual_seed(2), hard=True)).ratios
    assert 1.8 < ratios.log().abs().median().exp() < 4.5
