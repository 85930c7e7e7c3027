"""`astr frames`: photos from a video."""

from __future__ import annotations

from astr_cli.options.frames import FramesOptions
from astr_cli.options.output import OutputOptions


def command(options: FramesOptions, output: OutputOptions) -> int:
    """Take photos from a video: the sharpest frame of each half second, or as many as you want.

    OUT gets frame_NUMBER.jpg, with the number of the frame in the video, and times.csv with the time of each.

    Examples:

    astr frames walk.mp4 --out frames/

    astr frames walk.mp4 --out frames/ --count 200

    astr pairs retrieval frames/ --neighbours 3 | astr pairs sequential frames/ --overlap 5 --union - --out pairs.txt

    Exit codes: 0 = done; 2 = nothing was written; 4 = disk full; 130 = stopped (the same command starts over).
    """
    from astr_cli.cli import console
    from astr_cli.cli.sfm_output import stoppable
    from astr_cli.images.frames import keep_frames
    from astr_cli.wording import counted

    with stoppable(f"{options.out}: stopped; the same command starts over") as stop:
        kept = keep_frames(
            options.video, options.out, options.fps, options.count, options.pick == "sharpest", stop.check
        )
    if output.as_json:
        for frame in kept:
            console.json_line({"event": "frame", **frame._asdict()})
    elif not output.quiet:
        print(f"{options.out}: {counted(len(kept), 'frame')} of {kept[-1].seconds:.1f} s; next: astr reconstruct")
    return 0
