"""The solver: exact on images with a formula, the same by numba and NumPy, on any number of threads."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.refine import plain
from astr_cli.refine.align import align, align_compiled, compiled_loops
from astr_cli.refine.plain import Alignment, Task
from astr_cli.refine.pyramid import build_pyramid
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.templates import cut_templates, middles

SIZE = 160
WAVES = np.random.default_rng(7).normal(0, 0.35, (30, 2))
PHASES = np.random.default_rng(8).uniform(0, 6.28, 30)


def grey(xy: np.ndarray) -> np.ndarray:
    """(...) a texture that is known between the pixels too, at places (..., 2)."""
    return 128 + 9 * np.sin(xy @ WAVES.T + PHASES).sum(-1)


def grid() -> np.ndarray:
    """(SIZE, SIZE, 2) x and y of every pixel."""
    return np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).astype(float)


def seen_through(matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The image in which the texture's place x is at matrix x + shift."""
    return grey((grid() - shift) @ np.linalg.inv(matrix).T).astype(np.float32)


def task(image: np.ndarray, at: np.ndarray, start: np.ndarray, maps: np.ndarray, half: int = 9) -> Task:
    """Templates of the texture around `at` (P, 2), to be found in an image."""
    level = np.zeros(len(at), np.int64)
    templates = cut_templates(build_pyramid(grey(grid()).astype(np.float32)), at, level, half)
    assert templates.usable.all()
    return Task(image, templates.grey, middles(at, level)[1], start, maps)


def noisy_task(seed: int, count: int, settings: Settings) -> Task:
    """Patches everywhere, off by all that can happen: far, outside, flat, masked."""
    random = np.random.default_rng(seed)
    image = seen_through(np.eye(2), np.zeros(2)) + random.normal(0, 3, (SIZE, SIZE)).astype(np.float32)
    image[60:64, 80:83] = np.nan
    at = random.uniform(14, SIZE - 15, (count, 2))
    start = at + random.normal(0, 1, at.shape) * random.choice([0.3, 1.0, 6.0], (count, 1))
    maps = np.eye(2) + random.normal(0, 0.08, (count, 2, 2))
    made = task(image, at, start, maps, settings.half)
    made.grey[::17] = 40 * 256
    return made


def loops() -> object:
    found = compiled_loops()
    if found is None:
        pytest.skip("numba does not work here")
    return found


@pytest.mark.parametrize("unknowns", [2, 6])
@pytest.mark.parametrize("half", [5, 9])
def test_numba_and_numpy_agree(unknowns: int, half: int) -> None:
    settings = replace(Settings(), unknowns=unknowns, half=half)
    made = noisy_task(half, 1500, settings)
    fast, twin = align_compiled(loops(), made, settings, 1), plain.align(made, settings)
    assert np.array_equal(fast.status, twin.status)
    assert set(np.unique(fast.status)) == {
        Status.REFINED, Status.FLAT, Status.UNSETTLED, Status.MOVED, Status.OUTSIDE,
    }  # fmt: skip
    for one, other in zip(fast[:4], twin[:4], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6, rtol=0)


def test_numpy_serves_where_numba_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "astr_cli.refine.kernels", raising=False)
    monkeypatch.delattr("astr_cli.refine.kernels", raising=False)
    compiled_loops.cache_clear()
    made = noisy_task(6, 60, Settings())
    try:
        assert compiled_loops() is None
        for one, other in zip(align(made, Settings()), plain.align(made, Settings()), strict=True):
            assert np.array_equal(one, other, equal_nan=True)
    finally:
        compiled_loops.cache_clear()


def test_threads_change_no_bit() -> None:
    made = noisy_task(3, 3000, Settings())
    for one, other in zip(align(made, Settings(), 1), align(made, Settings(), 3), strict=True):
        assert np.array_equal(one, other, equal_nan=True)


def test_a_patch_alone_is_as_in_a_crowd() -> None:
    """So what a resumed run leaves out changes nothing."""
    made = noisy_task(4, 40, Settings())
    crowd = align(made, Settings())
    for row in range(40):
        alone = align(Task(made.image, *(column[row : row + 1] for column in made[1:])), Settings())
        for one, other in zip(alone, crowd, strict=True):
            assert np.array_equal(one[0], other[row], equal_nan=True)


def test_nothing_to_align() -> None:
    nothing = noisy_task(5, 1, Settings())
    empty = Task(nothing.image, *(column[:0] for column in nothing[1:]))
    for found in (align(empty, Settings()), plain.align(empty, Settings())):
        assert [len(column) for column in found] == [0] * 5


@given(
    st.floats(-0.15, 0.15),
    st.floats(0.85, 1.2),
    st.floats(-0.1, 0.1),
    st.floats(-2, 2),
    st.floats(0.4, 1.4),
    st.floats(-20, 20),
)
def test_affine_views_are_found_exactly(
    turn: float, size: float, shear: float, shift: float, gain: float, offset: float
) -> None:
    """From a start a pixel off, the identity as a map, under another gain and offset."""
    c, s = size * np.cos(turn), size * np.sin(turn)
    matrix = np.array([[c, -s + shear], [s, c]])
    middle = np.full(2, SIZE / 2 - 0.5)
    move = middle - matrix @ middle + (shift, -shift)
    image = np.clip(gain * (seen_through(matrix, move) - 128) + 128 + offset, 0, 255).astype(np.float32)
    at = middle + np.random.default_rng(1).uniform(-25, 25, (30, 2))
    truth = at @ matrix.T + move
    start = truth + np.random.default_rng(2).uniform(-0.7, 0.7, at.shape)
    found = align(task(image, at, start, np.tile(np.eye(2), (30, 1, 1))), Settings())
    good = found.status == Status.REFINED
    assert good.mean() > 0.6
    assert np.median(np.linalg.norm(found.xy - truth, axis=1)[good]) < 0.01
    assert np.median(np.abs(found.maps - matrix)[good]) < 0.01


def test_two_unknowns_keep_the_map() -> None:
    settings = replace(Settings(), unknowns=2)
    matrix = np.array([[1.1, 0.2], [-0.1, 0.95]])
    move = np.array([-12.0, 14.0])
    at = np.random.default_rng(1).uniform(50, 110, (50, 2))
    truth = at @ matrix.T + move
    found = align(task(seen_through(matrix, move), at, truth + 0.6, np.tile(matrix, (50, 1, 1))), settings)
    assert (found.status == Status.REFINED).mean() > 0.95
    assert np.median(np.linalg.norm(found.xy - truth, axis=1)) < 0.005
    assert np.array_equal(found.maps, np.tile(matrix, (50, 1, 1)))


@pytest.mark.parametrize("unknowns", [2, 6])
def test_sigma_follows_the_noise(unknowns: int) -> None:
    """It is half as large again as the spread under white noise: see `plain`; twice the noise, twice the sigma."""
    random = np.random.default_rng(0)
    clear, noise = seen_through(np.eye(2), np.zeros(2)), random.normal(0, 4, (SIZE, SIZE)).astype(np.float32)
    at = random.uniform(15, SIZE - 16, (2000, 2))
    eye, sigma = np.tile(np.eye(2), (2000, 1, 1)), []
    for times in (1, 2):
        found = align(task(clear + times * noise, at, at, eye), replace(Settings(), unknowns=unknowns))
        good = found.status == Status.REFINED
        assert good.mean() > 0.9
        error = np.linalg.norm(found.xy - at, axis=1)[good]
        assert 0.55 < np.sqrt(np.mean(error**2) / np.mean(found.sigma[good] ** 2)) < 0.75
        assert np.median(found.correlation[good]) > 0.9
        sigma.append(np.median(found.sigma[good]))
    assert 1.9 < sigma[1] / sigma[0] < 2.1


def refined(found: Alignment) -> bool:
    return bool((found.status == Status.REFINED).all())


def test_what_cannot_be_aligned_is_told_why() -> None:
    image = seen_through(np.eye(2), np.zeros(2))
    at, eye = np.full((1, 2), 80.3), np.eye(2)[None]
    assert refined(align(task(image, at, at + 0.5, eye), Settings()))
    flat = task(image, at, at, eye)
    flat.grey[:] = 77 * 256
    assert align(flat, Settings()).status == Status.FLAT
    edges = np.tile(np.where(np.arange(21) < 10, 40, 200).astype(np.uint16) * 256, (1, 21, 1))
    assert align(flat._replace(grey=edges), Settings()).status == Status.FLAT  # sure across, but not along
    assert align(task(image, at, np.full((1, 2), 5.0), eye), Settings()).status == Status.OUTSIDE
    masked = image.copy()
    masked[89, 80] = np.nan
    assert align(task(masked, at, at, eye), Settings()).status == Status.OUTSIDE
    masked[89, 80], masked[93, 80] = image[89, 80], np.nan
    assert refined(align(task(masked, at, at, eye), Settings()))
    short = replace(Settings(), reach=0.4)
    assert align(task(image, at, at + 0.7, eye), short).status == Status.MOVED
    assert align(task(image, at, at + 0.7, eye), replace(Settings(), rounds=1)).status == Status.UNSETTLED
    assert align(task(255 - image, at, at, eye), Settings()).status == Status.UNSETTLED


def test_cubic_weights() -> None:
    """Exact on the pixels and on parabolas, and they sum to 1."""
    x = np.linspace(0, 1, 11)
    weights = np.array(plain.cubic(x))
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-12)
    np.testing.assert_allclose(np.array([-1, 0, 1, 2]) @ weights, x, atol=1e-12)
    np.testing.assert_allclose(np.array([1, 0, 1, 4]) @ weights, x**2, atol=1e-12)
