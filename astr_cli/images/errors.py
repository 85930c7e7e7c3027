"""The error of astr_cli/images."""

from astr_cli.errors import AstrError


class ImageError(AstrError):
    """A photo that is missing or cannot be read; the message names the file, the reason and what to do."""
