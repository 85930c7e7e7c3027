"""`astr train`: passes the options to the trainer."""

from __future__ import annotations

import typer

from astr_cli.options.train import TrainOptions

RECIPE = ("preset", "steps", "side", "batch", "processes", "difficulty", "rate", "seed")


def command(options: TrainOptions) -> None:
    """Train a model on scenes rendered from photos.

    Examples:

    astr train --photos photos/ --out runs/first --minutes 180

    astr train --photos photos/ --resume runs/first --minutes 60

    astr train --photos photos/ --init astr-small --out runs/second --steps 40000

    astr train --photos photos/ --init astr-small --out runs/fine --set only_fine=true

    astr train --photos photos/ --contact-sheet sheets/

    astr train --photos photos/ --write-validation validation/

    Exit codes: 0 = done, or --minutes are over; 2 = nothing was started; 130 = stopped by a signal, after a checkpoint
    (--resume continues).
    """
    if options.write_validation is not None:
        from astr_cli.train.validation_folder import write_validation

        write_validation(options.photos, options.write_validation, typer.echo, options.validation_pairs)
        return
    from astr_cli.train.scene_mix import RecordingFolders

    recordings = RecordingFolders(options.rgbd, options.megadepth, options.model)
    if options.contact_sheet is not None:
        from astr_cli.train.contact_sheet import write_contact_sheets

        write_contact_sheets(options.photos, options.contact_sheet, recordings, typer.echo)
        return
    from astr_cli.resources import weights_path
    from astr_cli.train.command import TrainRequest, train
    from astr_cli.train.config import parse_change

    given = [(name, value) for name in RECIPE if (value := getattr(options, name)) is not None]
    request = TrainRequest(
        photos=options.photos,
        out=options.out,
        resume=options.resume,
        init=None if options.init is None else weights_path(options.init),
        changes=(*given, *(parse_change(text) for text in options.set_values)),
        minutes=options.minutes,
        every=options.every,
        device=options.device,
        recordings=recordings,
        workers=options.workers,
    )
    train(request, typer.echo)
