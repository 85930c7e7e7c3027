"""`astr merge`: one matches.h5 from the shards of a run."""

from __future__ import annotations

from astr_cli.options.files import MergeOptions
from astr_cli.options.output import OutputOptions


def command(options: MergeOptions, output: OutputOptions) -> int:
    """Join the files of the shards of `astr match` to one file, the same that a run without shards writes.

    All must have the same options, weights and photos. A pair may be in several files if its rows are equal.

    Examples:

    astr merge matches.h5 shards/1.h5 shards/2.h5 shards/3.h5

    astr merge matches.h5 shards/*.h5 --pairs pairs.txt

    Exit codes: 0 = done; 2 = nothing was written; 4 = disk full; 130 = stopped (nothing was written).
    """
    from astr_cli.cli import console
    from astr_cli.cli.sfm_output import stoppable
    from astr_cli.pairs.reading import read_pairs
    from astr_cli.store.merging import merge_files
    from astr_cli.wording import counted

    pairs = None if options.pairs is None else read_pairs(options.pairs).pairs
    listed = None if pairs is None else tuple((pair.name0, pair.name1) for pair in pairs)
    with stoppable(f"{options.out}: stopped; nothing was written; run the same command again") as stop:
        summary = merge_files(options.out, options.inputs, listed, options.overwrite, stop.check)
    if output.as_json:
        console.json_line({"event": "merged", **summary._asdict(), "out": str(summary.out)})
    elif not output.quiet:
        twice = f", {summary.repeated:,} of them in more than one file" if summary.repeated else ""
        files = counted(summary.files, "file")
        print(
            f"{summary.out}: {counted(summary.pairs, 'pair')} of {counted(summary.images, 'photo')} from {files}{twice}"
        )
    return 0
