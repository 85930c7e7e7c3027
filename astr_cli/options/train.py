"""The options of `astr train`."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.matching import is_weights_file
from astr_cli.options.option import OptionError, Options, option

DATA, RUN, RECIPE, OTHER = "Data", "Run", "Recipe", "Instead of training"


@dataclass(eq=False, repr=False)
class TrainOptions(Options):
    """The options of `astr train`. None: the value of the recipe or of the resumed run."""

    photos: Path = option(help="Folder of photos; the rendered scenes use them as textures.", stored=False, panel=DATA)
    rgbd: Path | None = option(
        None, help="Folder of RGB-D sequences to train on in addition.", stored=False, panel=DATA
    )
    megadepth: Path | None = option(
        None, help="Folder of MegaDepth in LoFTR's layout to train on in addition.", stored=False, panel=DATA
    )
    model: Path | None = option(
        None,
        help="Folder with images/ and sparse/ of a COLMAP model with pinhole cameras (astr export --format "
        "undistorted) to train on in addition; it may contain several.",
        stored=False,
        panel=DATA,
    )
    out: Path | None = option(
        None, help="Folder of a new run, for checkpoints, log.csv and exported weights.", stored=False, panel=RUN
    )
    resume: Path | None = option(
        None, help="Folder of a run to resume exactly where it stopped.", stored=False, panel=RUN
    )
    init: str | None = option(
        None,
        help="Weights to start a new run from: a shipped name or a safetensors file. The step counter of the file "
        "continues; the optimizer starts fresh.",
        stored=False,
        panel=RUN,
        is_path=is_weights_file,
    )
    preset: str | None = option(
        None,
        help="Model to train: astr, astr-small, or astr-small-linear (without spots).",
        stored=False,
        panel=RECIPE,
        default_text="astr-small, or that of --resume",
    )
    steps: int | None = option(
        None, help="Last step; the schedule of the learning rate ends there.", stored=False, panel=RECIPE, least=1
    )
    minutes: float | None = option(
        None, help="Stop after this time and write a checkpoint.", stored=False, panel=RUN, least=0
    )
    side: int | None = option(
        None, help="Side of the rendered images in pixels, a multiple of 32.", stored=False, panel=RECIPE
    )
    batch: int | None = option(None, help="Pairs per step.", stored=False, panel=RECIPE, least=1)
    processes: int | None = option(
        None,
        help="Training processes of one thread each. On a CPU, use as many as there are cores.",
        stored=False,
        panel=RECIPE,
        least=1,
    )
    workers: int | None = option(
        None,
        help="Processes that render scenes ahead of the training. 0: the training process renders.",
        stored=False,
        panel=RUN,
        least=0,
        default_text="0 on a CPU, up to 12 beside a GPU",
    )
    difficulty: float | None = option(
        None,
        help="Greatest difference between the two views (0 to 1). Use 0.6 for the first hours.",
        stored=False,
        panel=RECIPE,
        least=0,
    )
    rate: float | None = option(None, help="Peak learning rate.", stored=False, panel=RECIPE, least=0)
    seed: int | None = option(None, help="Seed of the scenes and of the sampling.", stored=False, panel=RECIPE)
    set_values: tuple[str, ...] = option(
        (),
        name="set",
        help="Any other value of the recipe as NAME=VALUE, such as fine_share=0.5. May be repeated.",
        stored=False,
        panel=RECIPE,
        default_text="none",
    )
    every: int = option(250, help="Number of steps between two checkpoints.", stored=False, panel=RUN, least=1)
    device: str = option("auto", help="Device to train on: auto, cpu, cuda or cuda:N.", stored=False, panel=RUN)
    contact_sheet: Path | None = option(
        None, help="Draw some scenes of each kind into this folder, then stop.", stored=False, panel=OTHER
    )
    write_validation: Path | None = option(
        None,
        help="Render pairs from held-out photos into this folder for astr eval, then stop.",
        stored=False,
        panel=OTHER,
    )
    validation_pairs: int = option(
        96,
        help="Pairs per kind of scene for --write-validation. More pairs take longer and give smaller standard errors.",
        stored=False,
        panel=OTHER,
        least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.difficulty is not None and self.difficulty > 1:
            raise OptionError(f"--difficulty {self.difficulty:g}: give at most 1")
