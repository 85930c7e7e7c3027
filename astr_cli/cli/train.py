"""`astr train`: parsing and printing only."""

from pathlib import Path
from typing import Annotated

import typer

from astr_cli.cli.options import Device


def command(
    photos: Annotated[Path, typer.Option(help="Folder of photos: textures for the rendered scenes.")],
    rgbd: Annotated[Path | None, typer.Option(help="Folder of RGB-D sequences, trained on as well.")] = None,
    megadepth: Annotated[
        Path | None, typer.Option(help="Folder of MegaDepth in LoFTR's layout, trained on as well.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of a new run: checkpoints, log.csv, exported weights.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of a run to go on with, exactly where it stopped.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Exported weights to start a new run from: their step, fresh moments.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Which model: astr, astr-small, or astr-small-linear (no spots).",
            show_default="astr-small, or that of --resume",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Horizon of the schedule; training ends there.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="Stop after this long, with a checkpoint.")] = None,
    side: Annotated[int | None, typer.Option(help="Side of the rendered images, a multiple of 32.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pairs a step.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes of one thread each; on a CPU, as many as cores.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that make scenes ahead of the training; 0 = none.",
            show_default="0 on a CPU, up to 12 beside a GPU",
        ),
    ] = None,
    difficulty: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="How far apart the views are; 0.6 for the first hours.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.0, help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of scenes and sampling.")] = None,
    set_values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any other value of the recipe (train/config.py), as --set fine_share=0.5; repeatable."
        ),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 250,
    device: Device = "auto",
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Only draw some scenes of each kind into this folder, then stop.")
    ] = None,
    write_validation: Annotated[
        Path | None,
        typer.Option(help="Only render pairs of held-out photos into this folder, for astr eval, then stop."),
    ] = None,
    validation_pairs: Annotated[
        int, typer.Option(min=1, help="Pairs per kind of --write-validation; more take longer and decide finer.")
    ] = 96,
) -> None:
    """Train a model on scenes rendered from photos.

    \b
    astr train --photos photos/ --out runs/first --minutes 180
    astr train --photos photos/ --resume runs/first --minutes 60
    astr train --photos photos/ --init weights/astr-small.safetensors --out runs/second --steps 40000
    astr train --photos photos/ --init weights/astr-small.safetensors --out runs/fine --set only_fine=true
    astr train --photos photos/ --contact-sheet sheets/
    astr train --photos photos/ --write-validation validation/

    Exit codes: 0 done, or --minutes are over; 2 nothing was started; 130 stopped by a signal, after a checkpoint
    (--resume goes on).
    """
    if write_validation is not None:
        from astr_cli.train.validation_folder import write_validation as write

        write(photos, write_validation, typer.echo, validation_pairs)
        return
    if contact_sheet is not None:
        from astr_cli.train.contact_sheet import write_contact_sheets

        write_contact_sheets(photos, contact_sheet, rgbd, typer.echo, megadepth)
        return
    from astr_cli.train.command import TrainRequest, train
    from astr_cli.train.config import parse_change

    changes = {
        "preset": preset,
        "steps": steps,
        "side": side,
        "batch": batch,
        "processes": processes,
        "difficulty": difficulty,
        "rate": rate,
        "seed": seed,
    }
    given = tuple((name, value) for name, value in changes.items() if value is not None)
    given += tuple(parse_change(text) for text in set_values or ())
    train(TrainRequest(photos, rgbd, out, resume, init, given, minutes, every, device, megadepth, workers), typer.echo)
