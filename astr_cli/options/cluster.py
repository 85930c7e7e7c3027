"""The options of runs on several machines."""

from dataclasses import dataclass

from astr_cli.options.option import Options, option


@dataclass(eq=False, repr=False)
class ClusterOptions(Options):
    """Where `astr match` computes."""

    ray: str | None = option(
        None,
        help="Match on a Ray cluster, in shards: its address, auto for the one of this machine, or local to start one. "
        "All machines must see the photos and the output under the same paths.",
        stored=False,
        panel="Machine",
    )
    shards: int = option(8, help="Shards of a run with --ray; more than there are workers.", stored=False, least=1)
