"""The options of `astr extend`."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.option import OptionError, Options, option


@dataclass(eq=False, repr=False)
class ExtendOptions(Options):
    """The options of `astr extend`; all others are those of OUT/options.toml."""

    out: Path = option(help="Folder of a finished astr reconstruct.", stored=False, argument=True)
    new_photos: Path | None = option(
        None,
        help="Folder of the new photos: the folder of the other photos, or one inside it. Photos that the model's "
        "database holds are left alone.",
        stored=False,
        argument=True,
    )
    remove: tuple[str, ...] = option(
        (),
        help="Remove this photo from OUT, or those in a text file with one name per line; in place of NEW_PHOTOS. May "
        "be repeated.",
        stored=False,
        default_text="none",
    )
    readjust: bool = option(
        False,
        help="Adjust all cameras and points together at the end, instead of holding the existing ones.",
        stored=False,
    )

    def __post_init__(self) -> None:
        """Raises OptionError unless there is something to do, and only one thing."""
        super().__post_init__()
        if (self.new_photos is None) != bool(self.remove):
            raise OptionError("name the folder of NEW_PHOTOS, or photos with --remove, not both")
