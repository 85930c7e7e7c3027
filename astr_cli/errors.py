"""The errors that users meet, each with its exit code (docs/design.md, Errors).

An `AstrError` carries one line that says which file, what is wrong and what to do. Everything else that reaches the
command line is a bug and exits with 1.
"""


class AstrError(Exception):
    """Nothing was started: bad usage or bad input (exit code 2)."""

    exit_code = 2


class Stopped(AstrError):
    """Work stopped half way and can be resumed: disk full, out of memory after back-off (exit code 4)."""

    exit_code = 4


class Interrupted(AstrError):
    """SIGINT or SIGTERM; finished work is kept and the same command resumes (exit code 130)."""

    exit_code = 130
