"""Boxes, their faces and holes, and overlap: against closed forms and float64 twins."""

import math

import pytest
import torch
from torch import Tensor

from astr_cli.scenes.box_building import no_grid
from astr_cli.scenes.boxes import Boxes, Hits, cast, clearance, in_sight, yaw
from astr_cli.scenes.faces import CHANCES, Grid, enter_grid, face_hits, pick
from astr_cli.scenes.geometry import Cameras, Rays, ScenePair, intrinsics_matrix, look_at, pixel_grid, pixel_rays
from astr_cli.scenes.overlap import cast_shares, overlap, shares
from astr_cli.scenes.tiles import make_tiles, sample_tiles

SIZE = (48, 64)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_boxes(count: int, number: int, room: bool, seed: int = 0) -> Boxes:
    generator = seeded(seed)
    centre = torch.rand(count, number, 3, generator=generator) * 4 - 2
    half = torch.rand(count, number, 3, generator=generator) * 0.6 + 0.05
    angle = torch.rand(count, number, generator=generator) * 6
    angle[:, ::2] = 0
    if room:
        centre[:, 0], half[:, 0] = 0, 4.0
    return Boxes(centre, yaw(angle), half, tuple(k % 2 == 1 for k in range(number)), room)


def some_cameras(count: int, distance: float, seed: int = 1) -> Cameras:
    position = torch.nn.functional.normalize(torch.randn(count, 3, generator=seeded(seed)), dim=-1) * distance
    position[:, 1] *= 0.5
    size = torch.full((count,), 60.0)
    rotation = look_at(position, torch.zeros(count, 3), torch.linspace(-1, 1, count))
    return Cameras(intrinsics_matrix(size, size / 2, size / 2), rotation, position)


@pytest.mark.parametrize("room", [False, True])
def test_rays_stop_on_a_surface_and_pass_nothing_before_it(room: bool) -> None:
    """By points along the rays in float64: free up to the hit, and at the hit on a box's surface."""
    boxes, cameras = some_boxes(3, 7, room), some_cameras(3, 3.5)
    rays = pixel_rays(cameras, pixel_grid(SIZE, torch.device("cpu")))
    hits = cast(boxes, rays)
    found = hits.depth < math.inf
    assert found.float().mean() > 0.1 and (room == bool(found.all()))
    depth = torch.where(found, hits.depth, torch.tensor(8.0)).double()
    turn, centre, half = (part.double() for part in (boxes.turn, boxes.centre, boxes.half))

    def outside(at: Tensor) -> Tensor:
        """(B, K, N): above 0 outside of the box, 0 on it."""
        points = rays.origin.double() + at[:, None] * rays.direction.double()
        local = torch.einsum("bkij,bkjn->bkin", turn, points[:, None] - centre[..., None]).abs() - half[..., None]
        return local.amax(dim=2) * (1 - 2 * (torch.arange(7) == 0)[:, None] * room)

    for share in torch.linspace(0.01, 0.999, 100, dtype=torch.float64):
        assert outside(share * depth).min() > -1e-4
    on_own = outside(depth).gather(1, hits.box[:, None])[:, 0]
    assert on_own[found].abs().max() < 1e-5


def test_batches_equal_singles_and_boxes_out_of_sight_change_nothing() -> None:
    boxes, cameras = some_boxes(4, 9, room=False), some_cameras(4, 2.0)
    pixels = pixel_grid(SIZE, torch.device("cpu"))
    rays = pixel_rays(cameras, pixels)
    whole = cast(boxes, rays)
    left_out = 0
    for row in range(4):
        part = slice(row, row + 1)
        camera = Cameras(*(field[part] for field in cameras))
        among = in_sight(boxes.rows(part), camera, SIZE)
        left_out += 9 - len(among)
        single = cast(boxes.rows(part), Rays(*(field[part] for field in rays)), among)
        torch.testing.assert_close(single.depth, whole.depth[part], atol=1e-5, rtol=0)
        assert torch.equal(single.box, whole.box[part])
    assert left_out > 3


def test_clearance_is_negative_inside_of_a_box_and_outside_of_the_room() -> None:
    half = torch.tensor([[[2.0, 2.0, 2.0], [0.5, 0.5, 0.1]]])
    turn = yaw(torch.tensor([[0.0, math.pi / 2]]))
    boxes = Boxes(torch.zeros(1, 2, 3), turn, half, (False, True), True)
    points = torch.tensor([[[0.05, 0.0, 0.3], [0.3, 0.0, 0.0], [1.5, 0.0, 0.0], [2.5, 0.0, 0.0]]])
    assert torch.allclose(clearance(boxes, points), torch.tensor([[-0.05, 0.2, 0.5, -0.5]]), atol=1e-6)


def windows(recess: float) -> Grid:
    """2 x 2 holes of half side 0.3 in the face z = -1 of a cube of half side 1: cells of side 1."""
    grid = no_grid(1, torch.device("cpu"))
    values = {"columns": 2.0, "rows": 2.0, "start_p": -1.0, "start_q": -1.0, "half_p": 0.3, "half_q": 0.3}
    values |= {"recess": recess}
    return grid._replace(**{name: torch.full((1, 6), value) for name, value in values.items()})


def look_into(recess: float, at: tuple[float, float], camera_x: float) -> tuple[float, bool, bool]:
    """z-depth, whether in a hole, whether on its ground, of the ray from (camera_x, at_y, -5) to (at, -1)."""
    boxes = Boxes(torch.zeros(1, 1, 3), torch.eye(3)[None, None], torch.ones(1, 1, 3), (False,))
    origin = torch.tensor([[camera_x, at[1], -5.0]])
    direction = torch.tensor([[at[0] - camera_x, 0.0, 4.0]]) / 4
    rays = Rays(origin[..., None], direction[..., None])
    hits = cast(boxes, rays)
    frame = face_hits(boxes, Hits(hits.depth, hits.box), rays)
    assert frame.face.item() == 4  # axis 2, negative side
    grid = Grid(*pick(windows(recess), frame.face))
    cell = enter_grid(grid, torch.ones(1, CHANCES), frame)
    return float(hits.depth + cell.further), bool(cell.inside.item()), bool(cell.pane.item())


def test_holes_have_grounds_and_sides_where_geometry_says() -> None:
    assert look_into(0.25, (0.0, 0.5), 0.0) == (4.0, False, False)  # the wall between two holes
    assert look_into(0.25, (0.5, 0.5), 0.5) == (4.25, True, True)
    assert look_into(0.0, (0.5, 0.5), 0.5) == (4.0, True, True)
    # A ray with slope 1 that enters 0.1 before the hole's side at x = 0.8 meets it 0.1 further on.
    depth, inside, pane = look_into(0.25, (0.7, 0.5), -3.3)
    assert depth == pytest.approx(4.1, abs=1e-5) and inside and not pane
    depth, inside, pane = look_into(0.25, (0.3, 0.5), -3.7)
    assert depth == pytest.approx(4.25, abs=1e-5) and inside and pane


def test_each_tile_of_a_scene_is_found_at_its_own_texels_and_mirrored_beyond() -> None:
    photos = torch.rand(2, 3, 64, 64, generator=seeded(0))
    tiles, palette = make_tiles(photos, seeded(1))
    assert palette.photos == 3 and tiles.number == 8
    line = (torch.arange(64) + 0.5) / 64
    u, v = (part.flatten().expand(2, -1) for part in torch.meshgrid(line, line, indexing="xy"))
    tiny = torch.full_like(u, 1e-9)
    for number in range(3):
        found = sample_tiles(tiles, torch.full_like(u, float(number)), u, v, tiny)
        assert torch.allclose(found, photos[:, number].flatten(1), atol=1e-4)
        mirrored = sample_tiles(tiles, torch.full_like(u, float(number)), 1 + u, -v, tiny)
        assert torch.allclose(mirrored, photos[:, number].flip(2).flatten(1), atol=1e-3)
        repeated = sample_tiles(tiles, torch.full_like(u, float(number)), 4 + u, v - 2, tiny)
        assert torch.allclose(repeated, photos[:, number].flatten(1), atol=1e-3)
    far = sample_tiles(tiles, torch.zeros_like(u), u, v, torch.full_like(u, 1.0))
    assert (far - 0.5).abs().max() < 0.12  # a pixel that covers the tile sees its mean


def flat_pair(shift: float, wall: float = 0.0) -> ScenePair:
    """Two views of the plane z = 1, the second one moved by `shift` image widths; a wall before the second one."""
    size, depth = (32, 32), torch.ones(1, 32, 32)
    intrinsics = intrinsics_matrix(torch.tensor([32.0]), torch.tensor([15.5]), torch.tensor([15.5]))
    pose = torch.eye(4)[None].clone()
    pose[0, 0, 3] = -shift
    other = depth.clone()
    other[:, :, : int(32 * wall)] = 0.5
    return ScenePair(torch.zeros(1, 1, *size), torch.zeros(1, 1, *size), depth, other, intrinsics, intrinsics, pose)


def test_overlap_of_moved_hidden_and_unknown_planes() -> None:
    for shift, expected in ((0.0, 1.0), (0.25, 0.75), (0.75, 0.25), (1.5, 0.0)):
        assert overlap(flat_pair(shift)).item() == pytest.approx(expected, abs=1e-6)
    hidden = flat_pair(0.0, wall=0.25)
    assert overlap(hidden).item() == pytest.approx(0.75, abs=1e-6)
    unknown = hidden._replace(depth1=torch.where(hidden.depth1 < 1, 0.0, hidden.depth1))
    seen = shares(unknown.depth0, unknown.depth1, unknown.intrinsics0, unknown.intrinsics1, unknown.pose)
    assert seen.seen.item() == pytest.approx(0.75) and seen.known.item() == 1.0
    assert overlap(unknown).item() == pytest.approx(math.sqrt(0.75), abs=1e-6)


def test_shares_by_casting_agree_with_shares_by_depth() -> None:
    boxes, cameras, others = some_boxes(5, 7, room=True), some_cameras(5, 3.0, seed=2), some_cameras(5, 3.3, seed=3)
    others = Cameras(others.intrinsics * torch.tensor([[1.5], [1.5], [1.0]]), others.rotation, others.position)
    others = others._replace(intrinsics=others.intrinsics.clone())
    near = Cameras(*(torch.lerp(a, b, 0.15) for a, b in zip(cameras, others, strict=True)))
    near = near._replace(rotation=torch.linalg.qr(near.rotation.transpose(1, 2))[0].transpose(1, 2))
    sign = (near.rotation * cameras.rotation).sum(dim=2).sign()
    near = near._replace(rotation=near.rotation * sign[..., None])
    size = (120, 120)
    depths = [cast(boxes, pixel_rays(c, pixel_grid(size, torch.device("cpu")))).depth for c in (cameras, near)]
    rotation = near.rotation @ cameras.rotation.transpose(1, 2)
    pose = torch.eye(4).repeat(5, 1, 1)
    pose[:, :3, :3] = rotation
    pose[:, :3, 3] = (near.rotation @ (cameras.position - near.position)[..., None])[..., 0]
    depth0, depth1 = (depth.view(5, *size) for depth in depths)
    exact = shares(depth0, depth1, cameras.intrinsics, near.intrinsics, pose)
    one = [Cameras(*(field[:, None] for field in camera)) for camera in (cameras, near)]
    rough = cast_shares(boxes, one[0], one[1], size, 24)
    assert exact.seen.min() < 0.9 and exact.seen.max() > 0.3
    assert torch.allclose(rough.seen[:, 0], exact.seen, atol=0.05)
    assert torch.allclose(rough.log_ratio[:, 0], exact.log_ratio, atol=0.03)
