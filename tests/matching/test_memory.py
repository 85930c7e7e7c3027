"""How much memory a container leaves, from files as Linux writes them."""

from pathlib import Path

import pytest

from astr_cli.matching.resources.memory import free_host_bytes

MIB = 1 << 20
V2 = {"memory.max": 8 * MIB, "memory.current": 7 * MIB, "memory.stat": "inactive_file"}
V1 = {
    "memory/memory.limit_in_bytes": 8 * MIB,
    "memory/memory.usage_in_bytes": 7 * MIB,
    "memory/memory.stat": "total_inactive_file",
}


def write(folder: Path, files: dict[str, int | str], inactive: int | None) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, int):
            path.write_text(f"{content}\n")
        elif inactive is not None:
            path.write_text(f"anon 5\n{content} {inactive}\nactive_file 7\n")
    return folder


@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
@pytest.mark.parametrize(("inactive", "expected"), [(6 * MIB, 7 * MIB), (0, MIB), (None, MIB), (9 * MIB, 8 * MIB)])
def test_files_that_were_read_count_as_free(
    tmp_path: Path, files: dict[str, int | str], inactive: int | None, expected: int
) -> None:
    assert free_host_bytes(write(tmp_path, files, inactive)) == expected


def test_more_in_use_than_allowed_is_no_memory_at_all(tmp_path: Path) -> None:
    assert free_host_bytes(write(tmp_path, {**V2, "memory.current": 9 * MIB}, None)) == 0


@pytest.mark.parametrize("limits", [{}, {"memory.max": "max"}, {"memory/memory.limit_in_bytes": 2**63 - 4096}])
def test_without_a_limit_the_system_decides(tmp_path: Path, limits: dict[str, int | str]) -> None:
    (tmp_path / "memory").mkdir()
    for name, content in limits.items():
        (tmp_path / name).write_text(f"{content}\n")
    (tmp_path / "memory.current").write_text("5\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("5\n")
    assert free_host_bytes(tmp_path) > 64 * MIB
