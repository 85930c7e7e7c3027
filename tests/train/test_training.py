"""The trainer: true supervision, losses that fall, and resumes that are exact."""

import dataclasses
import json
import multiprocessing
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch

from astr_cli.errors import AstrError
from astr_cli.model.astr import Astr
from astr_cli.model.checkpoint import load_weights
from astr_cli.model.config import PRESETS
from astr_cli.scenes.planes import render_planes
from astr_cli.scenes.relief import render_relief
from astr_cli.scenes.textures import procedural_textures
from astr_cli.train.batches import BatchSet, batch_size, load_batches, make_batch
from astr_cli.train.checkpoint import resume_run, save_run, start_run
from astr_cli.train.command import TrainRequest, train
from astr_cli.train.config import TrainConfig, parse_change
from astr_cli.train.curves import draw_curves, read_table, thinned
from astr_cli.train.loop import fresh_state, learning_rate, train_step
from astr_cli.train.photos import PhotoSet, SharedPhotos, held_out, load_photos
from astr_cli.train.scene_mix import RecordingFolders
from astr_cli.train.supervision import centres, sample_depth, supervise
from astr_cli.train.validation import Validation, append_validation, validation_pair

CPU = torch.device("cpu")
SMALL = TrainConfig(side=96, batch=2, steps=50, warmup=5, autocast=False)


@pytest.fixture(scope="module")
def photos() -> PhotoSet:
    textures = procedural_textures(6, (160, 200), torch.Generator().manual_seed(5))
    return PhotoSet(tuple((t[0].numpy() * 255).astype(np.uint8) for t in textures))


@pytest.mark.parametrize("render", [render_planes, render_relief])
def test_supervision_agrees_with_the_geometry(render):
    """Every true match, lifted by depth0 and projected into image1, lands where the supervision says."""
    generator = torch.Generator().manual_seed(3)
    scene = render(procedural_textures(4, (256, 256), generator), (160, 160), generator)
    truth = supervise(scene)
    assert len(truth.batch) > 200
    at0 = centres(truth.cells0, 20)
    for index in range(4):
        rows = truth.batch == index
        points = at0[rows]
        z, _ = sample_depth(scene.depth0[index : index + 1], points[None])
        rays = torch.cat([points, torch.ones(len(points), 1)], dim=1) @ torch.linalg.inv(scene.intrinsics0[index]).T
        moved = (rays * z[0, :, None]) @ scene.pose[index, :3, :3].T + scene.pose[index, :3, 3]
        projected = moved @ scene.intrinsics1[index].T
        expected = projected[:, :2] / projected[:, 2:]
        found = centres(truth.cells1[rows], 20) + truth.offsets1[rows]
        torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)
    assert (truth.offsets1.abs() <= 4.01).all()
    assert (truth.offsets0.abs() <= 4.01).all()


def test_alone_cells_are_never_matched():
    generator = torch.Generator().manual_seed(4)
    truth = supervise(render_planes(procedural_textures(4, (256, 256), generator), (160, 160), generator))
    assert truth.alone0.any()
    assert not truth.alone0[truth.batch, truth.cells0].any()
    assert not truth.alone1[truth.batch, truth.cells1].any()


def test_the_loss_falls_on_one_batch(photos):
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, rate=2e-3, steps=1000)
    state = fresh_state(Astr(PRESETS["astr-small"]), config)
    scene = make_batch(photos, None, config, 0, torch.device("cpu"))
    reports = [train_step(state, config, [scene]) for _ in range(60)]
    assert reports[-1].coarse < 0.9 * reports[0].coarse
    assert len(reports[0].inside) == 4


def test_exact_resume(photos, tmp_path):
    """N steps equal N/2 steps, a checkpoint, and N/2 steps more, bit by bit."""
    device = torch.device("cpu")

    def advance(state, count):
        for _ in range(count):
            train_step(state, SMALL, [make_batch(photos, None, SMALL, state.step, device)])

    whole = start_run(SMALL, device)
    advance(whole, 4)
    half = start_run(SMALL, device)
    advance(half, 2)
    save_run(tmp_path, half, SMALL)
    resumed, config = resume_run(tmp_path, device)
    assert config == SMALL
    advance(resumed, 2)
    for first, second in ((whole.model, resumed.model), (whole.average, resumed.average)):
        for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, atol=0, rtol=0, msg=name)
    assert (whole.step, whole.warm, whole.pairs) == (resumed.step, resumed.warm, resumed.pairs)


def test_batches_made_ahead_are_the_same(photos):
    """By other processes, in order, and whatever step they begin at; of one thread each, so here too."""
    batches = BatchSet(SharedPhotos.of(photos), RecordingFolders(), SMALL, CPU, rank=0)
    ahead = list(load_batches(batches, range(3, 7), workers=2))
    assert len(ahead) == 4
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = [make_batch(photos, None, SMALL, step, CPU) for step in range(3, 7)]
    finally:
        torch.set_num_threads(threads)
    for first, second in zip(ahead, here, strict=True):
        assert first.subpixel == second.subpixel
        for a, b in zip((*first[:2], *first.truth), (*second[:2], *second.truth), strict=True):
            torch.testing.assert_close(a, b, atol=0, rtol=0)


def test_some_batches_are_of_larger_images(photos):
    config = dataclasses.replace(SMALL, batch=8, large_share=0.5, large_side=192)
    sizes = {step: batch_size(config, step) for step in range(40)}
    assert set(sizes.values()) == {(8, 96), (2, 192)}
    assert 10 < sum(side == 192 for _, side in sizes.values()) < 30
    step = next(step for step, size in sizes.items() if size == (2, 192))
    assert make_batch(photos, None, config, step, CPU).image0.shape == (2, 1, 192, 192)
    assert {batch_size(SMALL, step) for step in range(40)} == {(2, 96)}


def test_processes_left_early_end_quietly(photos):
    """As at --minutes: the batches that are still being made are of no use."""
    ahead = iter(
        load_batches(BatchSet(SharedPhotos.of(photos), RecordingFolders(), SMALL, CPU, rank=0), range(50), workers=2)
    )
    next(ahead)
    processes = multiprocessing.active_children()
    del ahead
    assert [process.exitcode for process in processes] == [0, 0]


def test_a_rest_that_rests(photos, tmp_path):
    """With only_fine nothing else moves, BatchNorm's statistics included; and such a run resumes."""
    config = dataclasses.replace(SMALL, only_fine=True)
    state = start_run(config, torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    train_step(state, config, [make_batch(photos, None, config, 0, torch.device("cpu"))])
    moved = {name for name, tensor in state.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and all(name.startswith("fine.") for name in moved)
    assert {name for name, _ in state.model.named_parameters() if name.startswith("fine.")} <= moved
    save_run(tmp_path, state, config)
    resumed, _ = resume_run(tmp_path, torch.device("cpu"))
    train_step(resumed, config, [make_batch(photos, None, config, 1, torch.device("cpu"))])


def test_linear_attention_can_take_the_place_of_spots(photos):
    config = dataclasses.replace(SMALL, preset="astr-small-linear")
    state = start_run(config, torch.device("cpu"))
    report = train_step(state, config, [make_batch(photos, None, config, 0, torch.device("cpu"))])
    assert (report.spots, report.inside) == (0, ())
    assert report.coarse > 0


def test_any_value_of_the_recipe_can_be_set():
    assert parse_change("fine_share=0.5") == ("fine_share", 0.5)
    assert parse_change("only_fine=true") == ("only_fine", True)
    assert parse_change("warmup=10") == ("warmup", 10)
    for text, message in (
        ("fine_shar=1", "did you mean 'fine_share'"),
        ("only_fine=1", "takes true or false"),
        ("warmup=0.5", "takes a whole number"),
        ("rate", "takes a number"),
    ):
        with pytest.raises(AstrError, match=message):
            parse_change(text)


def test_warm_start_takes_the_position_from_the_header(photos, tmp_path):
    state = start_run(SMALL, torch.device("cpu"))
    train_step(state, SMALL, [make_batch(photos, None, SMALL, 0, torch.device("cpu"))])
    save_run(tmp_path, state, SMALL)
    warm = start_run(SMALL, torch.device("cpu"), tmp_path / "astr-small.safetensors")
    assert (warm.step, warm.warm, warm.pairs) == (1, 0, 2)
    assert warm.hours == pytest.approx(state.hours, abs=1e-3)
    assert not warm.optimizer.state_dict()["state"]
    assert learning_rate(SMALL, warm.step, warm.warm) < learning_rate(SMALL, warm.step, 10)
    train_step(warm, SMALL, [make_batch(photos, None, SMALL, 1, torch.device("cpu"))])


def test_a_config_of_two_kinds_of_scenes_keeps_them():
    """Runs older than rooms and facades say relief_share alone; the rest of their batches were planes."""
    stored = json.loads(TrainConfig(relief_share=0.7).to_json())
    for name in ("planes_share", "rooms_share", "facades_share", "rgbd_share"):
        del stored[name]
    config = TrainConfig.from_json(json.dumps(stored))
    shares = (config.planes_share, config.relief_share, config.rooms_share, config.facades_share, config.rgbd_share)
    assert shares == pytest.approx((0.3, 0.7, 0, 0, 0))


def test_a_damaged_or_missing_checkpoint_is_refused(photos, tmp_path):
    device = torch.device("cpu")
    with pytest.raises(AstrError, match=r"contains no checkpoint\.safetensors"):
        resume_run(tmp_path, device)
    save_run(tmp_path, start_run(SMALL, device), SMALL)
    path = tmp_path / "checkpoint.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(AstrError, match="damaged"):
        resume_run(tmp_path, device)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AstrError, match="not a complete"):
        resume_run(tmp_path, device)


def test_photos_never_change_sides():
    names = [f"houses_{k:04d}.webp" for k in range(2000)]
    share = sum(held_out(name) for name in names) / len(names)
    assert 0.02 < share < 0.06
    assert held_out("a/b/houses_0001.webp") == held_out("houses_0001.webp")


def test_usage_errors(tmp_path):
    request = TrainRequest(tmp_path, RecordingFolders(), None, None, None, (), None, 10, "cpu")
    with pytest.raises(AstrError, match="--out RUN_DIR, or of an existing one"):
        train(request, print)
    with pytest.raises(AstrError, match="multiple of 32"):
        train(dataclasses.replace(request, out=tmp_path / "r", changes=(("side", 100),)), print)
    with pytest.raises(AstrError, match="no preset 'large'"):
        train(dataclasses.replace(request, out=tmp_path / "r", changes=(("preset", "large"),)), print)
    with pytest.raises(AstrError, match="no photos"):
        load_photos(tmp_path, validation=False)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "number"), [("1", signal.SIGINT), ("2", signal.SIGTERM)])
def test_the_command_trains_stops_on_a_signal_and_goes_on(photos, tmp_path, processes, number):
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for index, photo in enumerate(photos.photos):
        Image.fromarray(photo).save(folder / f"p{index}.png")
    run = tmp_path / "run"
    base = [sys.executable, "-m", "astr_cli", "train", "--photos", str(folder), "--device", "cpu"]
    new = [*base, "--out", str(run), "--side", "96", "--batch", "1", "--steps", "1000"]
    new += ["--processes", processes]
    process = subprocess.Popen(new, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = run / "log.csv"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and len(log.read_text().splitlines()) > 3):
        time.sleep(0.2)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "--resume" in error
    before = int(load_weights(run / "astr-small.safetensors").header["step"])
    assert before >= 2
    again = subprocess.run([*base, "--resume", str(run), "--minutes", "0.02"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert int(load_weights(run / "astr-small.safetensors").header["step"]) > before
    changed = subprocess.run([*base, "--resume", str(run), "--side", "128"], capture_output=True, text=True)
    assert changed.returncode == 2
    assert "side 96 -> 128" in changed.stderr


def test_validation_pairs_are_the_same_in_every_run(photos, tmp_path):
    first, second = validation_pair(photos, 3), validation_pair(photos, 3)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
    assert not torch.equal(first.image0, validation_pair(photos, 4).image0)
    append_validation(tmp_path, 250, Validation(0.1, 0.2, 0.3, 0.9, 512.0))
    append_validation(tmp_path, 500, Validation(0.2, 0.3, 0.4, 0.95, 600.0))
    rows = (tmp_path / "validation.csv").read_text().splitlines()
    assert rows[0] == "step,auc5,auc10,auc20,precision,matches"
    assert len(rows) == 3


def test_curves_are_drawn_from_what_a_kill_left(tmp_path):
    rows = ["step,loss,accuracy,inside1", *(f"{step},{1 / step},0.5,0.9" for step in range(1, 900)), "900,nan,0.5,0.9"]
    (tmp_path / "log.csv").write_text("\n".join([*rows, "901,0."]))
    table = read_table(tmp_path / "log.csv")
    assert len(table["step"]) == 900
    steps, values = thinned(table["step"], table["loss"])
    assert len(steps) == 300
    assert values[0] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert values[-1] == pytest.approx((1 / 898 + 1 / 899) / 2)  # without the nan
    picture = cv2.imread(str(draw_curves(tmp_path)))
    assert picture.std() > 10
