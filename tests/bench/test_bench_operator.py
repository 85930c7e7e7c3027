"""`astr bench operator` on a tiny grid: what it prints, what it leaves out, what its implementations compute."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from astr_cli.bench.attention_peers import _masked, _masks_given, _three_steps
from astr_cli.bench.charts import STEPS, draw_operators
from astr_cli.bench.measuring import peak_megabytes
from astr_cli.bench.operators import make_case
from astr_cli.bench.records import Timing
from astr_cli.bench.window_centres import WINDOW, random_centres, realistic_centres
from astr_cli.cli.app import run
from astr_cli.images.charts import SERIES, ChartFolder
from astr_cli.ops.lists import spot_mask
from astr_cli.ops.reference import dense_spot_attention

CPU = torch.device("cpu")
SMALL = ["bench", "operator", "--grid", "6x7", "--batch", "2", "--heads", "2", "--skip", "flex", "--device", "cpu"]


def test_json_has_every_implementation_and_step(capsys):
    assert run([*SMALL, "--json"]) == 0
    machine, *timings = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert machine["event"] == "machine"
    assert machine["matmul_gflops"] > 0
    found = {(t["operator"], t["lists"], t["step"], t["implementation"]) for t in timings}
    assert len(found) == len(timings)
    attention = {"astr, numba", "astr, cuda", "astr, torch", "masked SDPA", "masked SDPA, masks given"}
    attention |= {"SDPA, no mask", "three steps", "roofline"}
    for step in ("forward", "forward+backward"):
        for lists in ("realistic", "random"):
            assert {name for *size, name in found if size == ["attention", lists, step]} == attention
        matching = {"astr, numba", "astr, cuda", "astr, torch", "dense", "roofline"}
        assert {name for *size, name in found if size == ["dual softmax", "", step]} == matching
    for timing in timings:
        assert (timing["milliseconds"] is None) == bool(timing["skipped"])
        if timing["implementation"] in ("masked SDPA", "dense"):
            assert timing["ratio"] == 1.0
    assert [t["skipped"] for t in timings if t["implementation"] == "astr, torch"] == [""] * 6
    assert all("not support tensors on cpu" in t["skipped"] for t in timings if t["implementation"] == "astr, cuda")


def test_the_table_says_what_is_left_out(tmp_path, capsys):
    assert run([*SMALL, "--lists", "random", "--limit", "0", "--plots", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "attention, 6x7, batch 2, random lists" in printed
    assert "left out: masked SDPA, forward: expected to take at least 0 s per call; raise --limit" in printed
    charts = {"attention-6x7-batch-2.png", "dual-softmax-6x7-batch-2.png"}  # of the roofline alone
    assert {path.name for path in tmp_path.iterdir()} == charts
    assert all(f"{tmp_path / name}: chart" in printed for name in charts)


def test_a_bar_for_each_step_that_was_measured(tmp_path):
    def timing(lists: str, step: str, name: str, milliseconds: float | None) -> Timing:
        return Timing("attention", "6x7", 2, lists, 9.0, step, name, milliseconds, milliseconds, 1.0, None)

    found = [timing(lists, step, "a", 3.0) for lists in ("realistic", "random") for step in STEPS]
    whole = draw_operators([*found, timing("random", "forward", "b", None)], ChartFolder(tmp_path / "whole"))
    assert [path.name for path in whole] == ["attention-6x7-batch-2.png"]
    few = draw_operators(found[:1], ChartFolder(tmp_path / "few"))
    accent, other = (int(SERIES[k][1:], 16) for k in range(2))
    seen = [set(np.unique(colours_of(path)).tolist()) for path in (*whole, *few)]
    assert {accent, other} <= seen[0] and accent in seen[1]


def colours_of(path):
    blue, green, red = cv2.imread(str(path)).astype(np.int64).transpose(2, 0, 1)
    return red << 16 | green << 8 | blue


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "60-80"], "--grid 60-80: give HEIGHTxWIDTH in cells"),
        (["--grid", "0x8"], "--grid 0x8: give HEIGHTxWIDTH in cells"),
        (["--lists", "real"], "no lists 'real'; expected realistic or random"),
        (["--dtype", "int8"], "no dtype 'int8'; expected float32 or float16 or bfloat16"),
        (["--device", "tpu"], "no device 'tpu'; expected auto, cpu, cuda or cuda:N"),
    ],
)
def test_bad_usage_is_one_line(arguments, message, capsys):
    assert run(["bench", "operator", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["bench"], ["bench", "--help"], ["bench", "operator", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = "import sys; from astr_cli.cli.app import run; run(sys.argv[1:]); print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "numba"} & set(done.stdout.splitlines()[-1].split()) == set()
    assert "operator" in done.stdout


@pytest.mark.parametrize("peer", [_masked, _masks_given, _three_steps])
@pytest.mark.parametrize("lists", ["realistic", "random"])
def test_peers_compute_the_same_thing(peer, lists):
    case = make_case((7, 9), 2, lists, 2, CPU, torch.float32)
    expected = dense_spot_attention(case.query, case.key, case.value, case.centres, case.grid, WINDOW)
    found = peer(case)(case.query, case.key, case.value)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=1e-5)
    assert case.pairs == int(spot_mask(case.centres, case.grid, WINDOW).sum())


def test_realistic_lists_are_of_the_size_that_was_measured():
    """55 keys a query without wrong centres, 66 with 10% of them, at 60x80; 124 when all are random."""
    generator = torch.Generator().manual_seed(0)
    for centres, keys in (
        (realistic_centres((60, 80), 1, 0.0, generator), 55),
        (realistic_centres((60, 80), 1, 0.1, generator), 66),
        (random_centres((60, 80), 1, generator), 121),
    ):
        assert spot_mask(centres, (60, 80), WINDOW).sum().item() / 4800 == pytest.approx(keys, abs=4)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak memory of a CPU call is read from /proc")
def test_peak_memory_of_a_call():
    def call() -> None:
        torch.ones(16 << 20)

    assert peak_megabytes(call, CPU) == pytest.approx(64, abs=16)
