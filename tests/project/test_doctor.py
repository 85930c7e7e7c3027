"""`astr doctor` finds what does not work, says what to do, and never fails itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from astr_cli.cli.app import run
from astr_cli.doctor import device, kernels
from astr_cli.doctor.checks import CHECKS, FOLDER, run_check
from astr_cli.doctor.examine import examine
from astr_cli.doctor.finding import Finding
from astr_cli.doctor.folder import check_folder
from astr_cli.doctor.libraries import LIBRARIES, is_older, least_version
from astr_cli.doctor.weights import check_weights
from astr_cli.ops import backends
from astr_cli.resources import weights_folder
from astr_cli.store import lock

ROOT = Path(__file__).resolve().parents[2]
DEPENDENCIES = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
NAME = "astr-small.safetensors"


def levels(found: Iterable[Finding]) -> dict[str, str]:
    return {finding.check: finding.level for finding in found}


def stub(folder: Path, name: str, code: str) -> dict[str, str]:
    """An environment in which `import NAME` runs `code`."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}


def doctor(environment: dict[str, str], *arguments: str | Path) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code and findings by check, in another process."""
    command = [sys.executable, "-m", "astr_cli", "doctor", "--json", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    *found, last = map(json.loads, done.stdout.splitlines())
    problems = sum(each["level"] == "problem" for each in found)
    notes = sum(each["level"] == "note" for each in found)
    assert last == {"event": "done", "problems": problems, "notes": notes}
    return done.returncode, {each["check"]: each for each in found}


def test_a_machine_that_runs_these_tests_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[-1] == "astr works here."
    said = {line[9:33].strip(): line for line in lines if line.startswith(("ok ", "note "))}
    for library in LIBRARIES:
        assert said[library.distribution].startswith("ok ")
    for check in ("Python", "CPU", "weights: astr-small", "kernels: torch", "kernels: numba", "folder: locks"):
        assert said[check].startswith("ok ")
    assert list(tmp_path.iterdir()) == []


def test_without_torch_the_rest_is_still_checked(tmp_path: Path) -> None:
    """torch is what nearly all of astr imports."""
    environment = stub(tmp_path / "stubs", "torch", "raise ImportError('libcudart.so.12: cannot open\\nshared object')")
    code, found = doctor(environment, tmp_path)
    assert code == 3
    assert found["torch"]["level"] == "problem"
    assert "cannot be loaded (ImportError: libcudart.so.12: cannot open shared object)" in found["torch"]["text"]
    assert found["torch"]["todo"].startswith("pip install --force-reinstall 'torch>=2.5'")
    for check in ("kernels: torch", "weights", "GPU"):
        assert found[check]["level"] == "note"
    for check in ("h5py", "folder: HDF5", "folder: locks"):
        assert found[check]["level"] == "ok"
    assert [each["check"] for each in found.values() if each["todo"]] == ["torch"]


@pytest.mark.parametrize(
    ("name", "code", "level", "text"),
    [
        ("tqdm", "raise RuntimeError('two\\nlines')", "problem", "cannot be loaded (RuntimeError: two lines)"),
        ("tqdm", "raise ModuleNotFoundError('gone', name='tqdm')", "problem", "not installed"),
        ("tqdm", "__version__ = '4.7'", "problem", "4.7 is too old"),
        ("tqdm", "import os; os._exit(7)", "problem", "the check ended its process (code 7)"),
        ("tqdm", "import sys; sys.exit()", "problem", "the check ended its process (code 0)"),
        ("numba", "raise ImportError('Numba needs NumPy 2.3')", "note", "Numba needs NumPy 2.3"),
    ],
)
def test_a_broken_library_is_a_finding(
    name: str, code: str, level: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(tmp_path / "stubs", name, code)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "stubs"), *sys.path])
    first, second = examine(tmp_path, [name, "rich"])
    assert (first.check, first.level, second.level) == (name, level, "ok")
    assert text in first.text
    assert first.todo


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_crash_and_a_hang_are_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(tmp_path, "tqdm", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    stub(tmp_path, "rich", "import time; time.sleep(600)")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    crash, hang = examine(tmp_path, ["tqdm", "rich"], patience=10.0)
    assert "SIGILL" in crash.text
    assert "no answer in time" in hang.text
    assert (crash.level, hang.level) == ("problem", "problem")


def test_every_dependency_is_checked() -> None:
    """But for cuda-core, without which the CUDA kernels say so."""
    assert DEPENDENCIES is not None
    requirements = re.findall(r'"([^"]+)"', DEPENDENCIES[1])
    names = {re.split(r"[<>=; ]", each)[0] for each in requirements}
    assert names == {library.distribution for library in LIBRARIES} | {"cuda-core", "tomli"}
    for library in LIBRARIES:
        assert least_version(library.distribution, requirements)
    assert least_version("torch", requirements) == "2.5"
    assert least_version("opencv", requirements) == ""


@pytest.mark.parametrize(
    ("version", "least", "older"),
    [
        ("2.13.0+cpu", "2.5", False),
        ("2.5", "2.5", False),
        ("2.4.1+cu124", "2.5", True),
        ("0.61.0rc1", "0.61", False),
        ("unknown version", "2.5", False),
    ],
)
def test_versions_compare_by_number(version: str, least: str, older: bool) -> None:
    assert is_older(version, least) == older


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder of weights like the shipped one."""
    for name in (NAME, "SHA256SUMS"):
        shutil.copy(weights_folder() / name, tmp_path)
    return tmp_path


def test_weights_that_are_as_shipped(weights: Path) -> None:
    (found,) = check_weights(weights)
    assert (found.level, found.check) == ("ok", "weights: astr-small")


@pytest.mark.parametrize(
    ("sums", "text"),
    [
        ("0" * 64 + f"  {NAME}\n", "is not the file that SHA256SUMS lists"),
        ("not a sum\n", "line 1 is not a SHA-256"),
        (None, "No such file"),
        ("a" * 64 + "  gone.safetensors\n", "gone.safetensors: cannot be read"),
    ],
)
def test_sums_that_do_not_fit(sums: str | None, text: str, weights: Path) -> None:
    (weights / "SHA256SUMS").unlink()
    if sums is not None:
        (weights / "SHA256SUMS").write_text(sums)
    problems = [found.text for found in check_weights(weights) if found.level == "problem"]
    assert len(problems) == 1
    assert text in problems[0]


def test_damaged_weights(weights: Path) -> None:
    content = bytearray((weights / NAME).read_bytes())
    content[len(content) // 2] ^= 1
    (weights / NAME).write_bytes(content)
    (found,) = check_weights(weights)
    assert found.level == "problem"
    assert "damaged" in found.text


def test_unlisted_weights_are_a_note(weights: Path) -> None:
    shutil.copy(weights / NAME, weights / "mine.safetensors")
    assert levels(check_weights(weights)) == {"weights: astr-small": "ok", "weights: mine": "note"}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):  # the superuser may write everywhere, except where the system itself does
        folder = Path("/proc")
    if not folder.is_dir() or os.name == "nt":
        pytest.skip("no folder that this user cannot write")
    (found,) = check_folder(folder)
    assert found.level == "problem"
    assert f"{folder}: cannot be written" in found.text


@pytest.mark.parametrize(("name", "text"), [("gone", "no such folder"), ("file", "is not a folder")])
def test_a_folder_that_is_none(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert [found.level for found in check_folder(tmp_path / name)] == ["problem"]
    assert [text in found.text for found in check_folder(tmp_path / name)] == [True]


def test_a_file_system_without_locks_or_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(lock, "_try_lock", lambda handle: True)
    monkeypatch.setattr(os, "fsync", fail)
    found = levels(check_folder(tmp_path))
    assert (found["folder: locks"], found["folder: sync and rename"]) == ("note", "problem")
    assert found["folder: HDF5"] == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, level in ((1_000, "problem"), (1_000_000_000, "note"), (1_000_000_000_000, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, free=free: shutil._ntuple_diskusage(0, 0, free))
        assert levels(check_folder(tmp_path))["folder: space"] == level


def test_wrong_kernels_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(kernels.check_numba()) == {"kernels: numba": "ok"}
    attention, matching = backends._numba()
    wrong = attention._replace(attend=lambda *inputs: tuple(2 * x for x in attention.attend(*inputs)))
    monkeypatch.setattr(backends, "_numba", lambda: (wrong, matching))
    (found,) = kernels.check_numba()
    assert (found.level, found.todo) == ("problem", "Set ASTR_ATTENTION=torch, and report this as a bug of astr.")
    assert levels(kernels.check_torch()) == {"kernels: torch": "ok"}


def test_a_choice_of_kernels_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for choice, expected in (("auto", []), ("torch", ["note"]), ("cudda", ["problem"])):
        monkeypatch.setenv("ASTR_ATTENTION", choice)
        assert [found.level for found in kernels.check_choice()] == expected
    assert levels(kernels.check_torch()) == {"kernels: torch": "ok"}
    assert os.environ["ASTR_ATTENTION"] == "cudda"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.skipif(os.name == "nt", reason="a script stands in for the driver's program")
def test_a_gpu_that_torch_does_not_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert levels(device.check_gpu()) == {"GPU": "ok"}
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA T4, 535.01'\n")
    program.chmod(0o755)
    (found,) = device.check_gpu()
    assert found.level == "note"
    assert found.text.startswith("NVIDIA T4, driver 535.01: ")
    program.write_text("#!/bin/sh\nexit 9\n")
    assert levels(device.check_gpu()) == {"GPU": "ok"}


@pytest.mark.parametrize(
    ("built_for", "visible", "text", "todo"),
    [
        (None, None, "built without CUDA", "CUDA build"),
        ("13.0", "", "hidden by CUDA_VISIBLE_DEVICES", "unset"),
        ("13.0", None, "PyTorch for CUDA 13.0 cannot use it", "update its driver"),
    ],
)
def test_what_stands_between_torch_and_a_gpu(built_for: str | None, visible: str | None, text: str, todo: str) -> None:
    found = device.without_torch(["NVIDIA T4, driver 535.01"], built_for, visible)
    assert text in found.text
    assert todo in found.todo


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_a_gpu_computes() -> None:
    found = levels([*device.check_gpu(), *kernels.check_cuda()])
    assert found["cuda:0"] == "ok"
    assert found["kernels: cuda"] == "ok"


def test_an_unexpected_error_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(torch, "get_num_threads", fail)
    (found,) = run_check("CPU", tmp_path)
    assert (found.level, found.text) == ("problem", "the check itself failed (ZeroDivisionError)")
    assert FOLDER not in CHECKS
