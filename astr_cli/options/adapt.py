"""The options of `astr adapt`."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.evaluate import LONG_SIDE
from astr_cli.options.matching import FILES, MATCHING, is_weights_file
from astr_cli.options.option import OptionError, Options, option

TRAINING = "Training"


@dataclass(eq=False, repr=False)
class AdaptOptions(Options):
    """The options of `astr adapt`."""

    photos: Path = option(help="Folder of the photos; its subfolders are searched too.", stored=False, argument=True)
    out: Path = option(help="Weights file to write (.safetensors).", stored=False, short="o", panel=FILES)
    work: Path | None = option(
        None,
        help="Folder for the model, the undistorted photos and the training; the same command resumes from it.",
        stored=False,
        panel=FILES,
        default_text="the name of --out with -work instead of .safetensors",
    )
    weights: str = option(
        "astr-small",
        help="Weights to start from: a shipped name or a safetensors file.",
        stored=False,
        panel=MATCHING,
        is_path=is_weights_file,
    )
    long_side: int = option(
        LONG_SIDE,
        help="Shrink photos to this many pixels for matching.",
        stored=False,
        panel=MATCHING,
        least=64,
        unit="pixels",
    )
    minutes: float = option(60.0, help="Time to train.", stored=False, panel=TRAINING, least=0)
    seed: int = option(1, help="Seed of the training.", stored=False, panel=TRAINING, least=0)
    device: str = option("auto", help="Device to use: auto, cpu, cuda or cuda:N.", stored=False, panel=TRAINING)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out.suffix != ".safetensors":
            raise OptionError(f"--out {self.out}: give a name that ends with .safetensors")

    @property
    def folder(self) -> Path:
        """Where the work is done."""
        return self.work or self.out.with_name(f"{self.out.stem}-work")
