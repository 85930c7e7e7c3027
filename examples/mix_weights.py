"""Weights between two files of one network: a share of the second, the rest of the first.

    python examples/mix_weights.py FIRST.safetensors SECOND.safetensors --share 0.35 --out mixed.safetensors

Training on from FIRST with hard scenes gains there and may lose elsewhere. A mixture can keep most of the gain and lose
less (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022); `astr eval DIR --weights mixed.safetensors
--against FIRST.safetensors` says whether it does. The header is the second's, with the share added.
"""

import argparse
from pathlib import Path

from torch import Tensor

from astr_cli.errors import AstrError
from astr_cli.model.checkpoint import FORMAT, UNFOLD, config_difference, header_config, read_tensors, write_tensors


def mix(first: Path, second: Path, share: float, out: Path) -> None:
    """Writes `out`; BatchNorm unfolds as in `first`, as training with it frozen does not change its statistics.

    Raises AstrError: other networks, unreadable files.
    """
    header0, tensors0 = read_tensors(first)
    header1, tensors1 = read_tensors(second)
    difference = config_difference(header_config(second, header1), header_config(first, header0))
    if difference:
        raise AstrError(f"{second}: another network than {first}: {difference}")
    names = sorted(name for name in tensors1 if not name.endswith(UNFOLD))
    mixed = {name: _between(tensors0[name], tensors1[name], share) for name in names}
    mixed |= {name: tensor for name, tensor in tensors0.items() if name.endswith(UNFOLD)}
    steps = f"{share:g} of step {header1.get('step')}, the rest of step {header0.get('step')}"
    write_tensors(out, FORMAT, {**_own(header1), "mixed": steps}, mixed)


def _own(header: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in header.items() if key not in ("format", "checksum")}


def _between(first: Tensor, second: Tensor, share: float) -> Tensor:
    if not second.is_floating_point():
        return second
    return ((1 - share) * first.float() + share * second.float()).to(second.dtype)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second file, from 0 to 1")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    try:
        mix(given.first, given.second, given.share, given.out)
    except AstrError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
