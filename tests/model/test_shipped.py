"""The weights in the repository are those of SHA256SUMS, and they load."""

from pathlib import Path

from astr_cli.model.checkpoint import load_weights

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


def test_shipped_weights_are_whole():
    listed = dict(reversed(line.split()) for line in (WEIGHTS / "SHA256SUMS").read_text().splitlines())
    assert sorted(listed) == sorted(path.name for path in WEIGHTS.glob("*.safetensors"))
    for name, sha256 in listed.items():
        loaded = load_weights(WEIGHTS / name)
        assert loaded.sha256 == sha256
        assert loaded.model.config.preset == loaded.name
        assert int(loaded.header["pairs"]) > 0
        assert float(loaded.header["hours"]) > 0
