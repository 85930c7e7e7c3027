"""The options of `astr extend`."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.option import Options, option


@dataclass(eq=False, repr=False)
class ExtendOptions(Options):
    """The options of `astr extend`; all others are those of OUT/options.toml."""

    out: Path = option(help="Folder of a finished astr reconstruct.", stored=False, argument=True)
    new_photos: Path = option(
        help="Folder of the new photos: the folder of the other photos, or one inside it. Photos that the model's "
        "database holds are left alone.",
        stored=False,
        argument=True,
    )
    readjust: bool = option(
        False,
        help="Adjust all cameras and points together at the end, instead of holding the existing ones.",
        stored=False,
    )
