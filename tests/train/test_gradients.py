"""Steps made of several batches: their gradient, their stages, their schedule, and what is not finite."""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from astr_cli.errors import AstrError
from astr_cli.model.checkpoint import load_weights
from astr_cli.scenes.textures import procedural_textures
from astr_cli.train.batches import TrainingBatch, make_batch
from astr_cli.train.checkpoint import Log, resume_run, save_run, start_run
from astr_cli.train.command import TrainRequest, check_request
from astr_cli.train.config import TrainConfig
from astr_cli.train.gradients import FINE, gather_gradients, trained_parameters
from astr_cli.train.loop import TrainState, learning_rate, run, train_step
from astr_cli.train.losses import FULL, mean_of_pairs
from astr_cli.train.photos import PhotoSet
from astr_cli.train.scene_mix import RecordingFolders
from astr_cli.train.supervision import Supervision

CPU = torch.device("cpu")
SMALL = TrainConfig(side=96, batch=2, steps=50, warmup=5, autocast=False, sampled=1.0)
FROZEN = dataclasses.replace(SMALL, frozen_norm=True, accumulate=2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of gradients by several threads may differ in their last bits, as a training process has one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photos() -> PhotoSet:
    textures = procedural_textures(6, (160, 200), torch.Generator().manual_seed(5))
    return PhotoSet(tuple((t[0].numpy() * 255).astype(np.uint8) for t in textures))


@pytest.fixture(scope="module")
def trained(photos: PhotoSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported weights whose BatchNorm has seen something."""
    folder = tmp_path_factory.mktemp("trained")
    state = start_run(SMALL, CPU)
    for step in range(3):
        train_step(state, SMALL, [make_batch(photos, None, SMALL, step, CPU)])
    save_run(folder, state, SMALL)
    return folder / "astr-small.safetensors"


def tensors_of(state: TrainState) -> dict[str, torch.Tensor]:
    """Everything that a step may move, copied."""
    found = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    found |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    for index, moments in state.optimizer.state_dict()["state"].items():
        found |= {f"{index}.{name}": tensor for name, tensor in moments.items()}
    return {name: tensor.clone() for name, tensor in found.items()}


def part_of(batch: TrainingBatch, pairs: slice) -> TrainingBatch:
    """Some pairs of a batch, in float64."""
    truth = batch.truth
    own = (truth.batch >= pairs.start) & (truth.batch < pairs.stop)
    rows = [part[own] for part in truth[:6]]
    rows[0] = rows[0] - pairs.start
    rows[3:] = [part.double() for part in rows[3:]]
    kept = Supervision(*rows, truth.alone0[pairs], truth.alone1[pairs])
    return TrainingBatch(batch.image0[pairs].double(), batch.image1[pairs].double(), kept, batch.subpixel)


def test_batches_together_are_one_large_batch(photos: PhotoSet, trained: Path) -> None:
    """The gradients of the matcher's losses, in float64, where the norms are frozen."""
    config = dataclasses.replace(FROZEN, batch=4, only_matcher=True)
    large = make_batch(photos, None, config, 1, CPU)
    model = start_run(config, CPU, trained).model.double()
    found = []
    for cuts in ([slice(0, 4)], [slice(0, 1), slice(1, 4)], [slice(k, k + 1) for k in range(4)]):
        gathered = gather_gradients(model, config, [part_of(large, cut) for cut in cuts], torch.Generator())
        assert (len(gathered.losses), gathered.skipped) == (len(cuts), 0)
        found.append(torch.cat([p.grad.flatten() for p in trained_parameters(model, config) if p.grad is not None]))
    assert found[0].norm() > 1e-3
    for parts in found[1:]:
        torch.testing.assert_close(parts, found[0], rtol=1e-6, atol=1e-6 * float(found[0].abs().max()))


def test_the_mean_of_pairs_gives_few_matches_less_weight() -> None:
    losses, batch = torch.rand(3 * FULL), torch.tensor([0] * FULL + [2] * (2 * FULL - 4) + [3] * 4)
    parts = [losses[batch == pair] for pair in range(4)]
    expected = (parts[0].mean() + parts[2].mean() + parts[3].sum() / FULL) / 4
    torch.testing.assert_close(mean_of_pairs(losses, batch, 4), expected)
    assert mean_of_pairs(losses[:0], batch[:0], 2) == 0


def test_frozen_norms_are_the_exported_model(photos: PhotoSet, trained: Path, tmp_path: Path) -> None:
    """Bit by bit at the start, while training, whatever else is in the batch; then up to the file's rounding."""
    state = start_run(FROZEN, CPU, trained)
    images = make_batch(photos, None, FROZEN, 0, CPU).image0
    exported = load_weights(trained).model
    with torch.no_grad():
        for found, expected in zip(state.model.train().extract(images), exported.extract(images), strict=True):
            assert (found is None and expected is None) or torch.equal(found, expected)
        alone = state.model.extract(images[:1]).coarse8
        torch.testing.assert_close(alone, exported.extract(images).coarse8[:1], rtol=1e-4, atol=1e-5)
    assert not any("norm.running" in name for name in state.model.state_dict())
    train_step(state, FROZEN, [make_batch(photos, None, FROZEN, step, CPU) for step in range(2)])
    save_run(tmp_path, state, FROZEN)
    written = load_weights(tmp_path / "astr-small.safetensors").model.state_dict()
    average = state.average.state_dict()
    assert written.keys() == average.keys()
    for name, tensor in written.items():
        torch.testing.assert_close(tensor, average[name], rtol=1e-3, atol=1e-6)


def test_frozen_norms_need_weights_and_stay_frozen(photos: PhotoSet, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(AstrError, match="--init"):
        start_run(FROZEN, CPU)
    save_run(tmp_path, start_run(FROZEN, CPU, trained), FROZEN)
    exported = tmp_path / "astr-small.safetensors"
    with pytest.raises(AstrError, match="--set frozen_norm=true"):
        start_run(SMALL, CPU, exported)
    again = start_run(FROZEN, CPU, exported)
    train_step(again, FROZEN, [make_batch(photos, None, FROZEN, 0, CPU)])


@pytest.mark.parametrize("changes", [{}, {"only_matcher": True}, {"only_fine": True}])
def test_a_run_in_the_middle_of_its_stage_resumes_bit_by_bit(
    photos: PhotoSet, trained: Path, tmp_path: Path, changes: dict[str, bool]
) -> None:
    """With steps of two batches, frozen norms, the end near: 3 steps equal 2, a checkpoint and 1."""
    config = dataclasses.replace(FROZEN, steps=6, decay=2, warmup=2, **changes)

    def advance(state: TrainState, stop: int) -> None:
        indices = range(state.step * config.accumulate, config.steps * config.accumulate)
        batches = (make_batch(photos, None, config, index, CPU) for index in indices)
        run(state, config, batches, CPU, lambda: state.step == stop, lambda _: None)

    whole, half = start_run(config, CPU, trained), start_run(config, CPU, trained)
    advance(whole, 6)
    advance(half, 5)
    save_run(tmp_path, half, config)
    resumed, stored = resume_run(tmp_path, CPU)
    assert stored == config
    advance(resumed, 6)
    assert (resumed.step, resumed.pairs) == (whole.step, whole.pairs) == (6, whole.pairs)
    expected, found = tensors_of(whole), tensors_of(resumed)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


def spoilt(batch: TrainingBatch) -> TrainingBatch:
    image = batch.image0.clone()
    image[0, 0, 10, 10] = torch.nan
    return batch._replace(image0=image)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_batch_that_is_not_finite_does_no_harm(photos: PhotoSet, trained: Path, tmp_path: Path, frozen: bool) -> None:
    config = dataclasses.replace(FROZEN, frozen_norm=frozen)
    batches = [make_batch(photos, None, config, step, CPU) for step in range(2)]
    state = start_run(config, CPU, trained)
    train_step(state, config, batches)  # so that there are moments
    before = tensors_of(state)
    report = train_step(state, config, [spoilt(batch) for batch in batches])
    assert (report.skipped, state.step, math.isnan(report.loss)) == (2, 5, True)
    Log(tmp_path).append(report)
    header, row = (line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines())
    assert dict(zip(header, row, strict=True))["skipped"] == "2"
    after = tensors_of(state)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_beside_a_good_batch_one_that_is_not_finite_is_as_if_it_were_not_there(photos: PhotoSet, trained: Path) -> None:
    config = dataclasses.replace(FROZEN, fine_least=10**6, ratio_jitter=0.0, ratio_plain=0.0)
    good, bad = (make_batch(photos, None, config, step, CPU) for step in range(2))
    model = start_run(config, CPU, trained).model
    found = []
    for batches in ([good], [good, spoilt(bad)], [spoilt(bad), good]):
        gathered = gather_gradients(model, config, batches, torch.Generator().manual_seed(1))
        assert (len(gathered.losses), gathered.skipped) == (1, len(batches) - 1)
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    for gradients in found[1:]:
        torch.testing.assert_close(gradients, found[0], rtol=1e-3, atol=1e-4 * float(found[0].abs().max()))


@pytest.mark.parametrize(("stage", "moves"), [("only_matcher", False), ("only_fine", True)])
def test_a_stage_moves_its_part_alone(photos: PhotoSet, trained: Path, stage: str, moves: bool) -> None:
    config = FROZEN.changed(((stage, True),))
    state = start_run(config, CPU, trained)
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    report = train_step(state, config, [make_batch(photos, None, config, 0, CPU)])
    moved = {name for name, tensor in state.model.state_dict().items() if not torch.equal(tensor, before[name])}
    stage_names = {name for name in before if name.startswith("fine." if moves else FINE)}
    assert moved == (stage_names if moves else before.keys() - stage_names)
    assert math.isnan(report.fine_error) != moves


def test_the_rate_climbs_stays_and_falls_at_the_end() -> None:
    config = TrainConfig(steps=1000, warmup=100, decay=200, rate=1e-3, last_rate=1e-5)
    begun = 300  # a warm start
    rates = [learning_rate(config, step, step - begun) for step in range(begun, 1001)]
    assert rates[:100] == pytest.approx([1e-3 * (k + 1) / 100 for k in range(100)])
    assert set(rates[100:500]) == {1e-3}
    assert all(a > b for a, b in itertools.pairwise(rates[500:]))
    assert rates[-1] == pytest.approx(1e-5)
    assert rates[600] == pytest.approx((1e-3 + 1e-5) / 2)


def test_without_a_decay_the_rate_falls_from_the_start() -> None:
    """A cosine over all steps since a warm start, as runs before had it."""
    config = TrainConfig(steps=1000, warmup=1, rate=1e-3, last_rate=1e-5)
    for warm in (0, 100, 350, 700):
        expected = 1e-5 + (1e-3 - 1e-5) * 0.5 * (1 + math.cos(math.pi * warm / 700))
        assert learning_rate(config, 300 + warm, warm) == pytest.approx(expected)


def test_the_end_of_a_constant_rate_can_be_moved(trained: Path, tmp_path: Path) -> None:
    """Not that of a cosine, whose past steps would have been others."""
    request = TrainRequest(
        tmp_path, RecordingFolders(), None, tmp_path, None, (("steps", 70), ("decay", 30)), None, 10, "cpu"
    )
    constant = dataclasses.replace(FROZEN, decay=10)
    save_run(tmp_path, start_run(constant, CPU, trained), constant)
    assert check_request(request)[1] == dataclasses.replace(constant, steps=70, decay=30)
    with pytest.raises(AstrError, match=r"rate 0\.001 -> 0\.002"):
        check_request(dataclasses.replace(request, changes=(("steps", 70), ("rate", 0.002))))
    save_run(tmp_path, start_run(FROZEN, CPU, trained), FROZEN)
    with pytest.raises(AstrError, match="steps 50 -> 70, decay 0 -> 30"):
        check_request(request)
