"""SIGINT and SIGTERM, for all commands: the first sets a flag, which is looked at between steps; the second ends the
process immediately.

No exception is ever raised by a signal: it could come up in any line, inside callbacks of libraries too.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from astr_cli.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopFlag:
    """Set once a signal asked the run to stop."""

    def __init__(self, message: str = "stopped") -> None:
        self.requested = False
        self.message = message

    def check(self) -> None:
        """Between two steps. Raises Interrupted with the message when the flag is set."""
        if self.requested:
            raise Interrupted(self.message)


@contextmanager
def stop_on_signals(notify: Callable[[str], None], message: str = "stopped") -> Iterator[StopFlag]:
    """Turns the first SIGINT or SIGTERM into a flag and a call of `notify` with the signal's name.

    From then on the signals have their default effect: a second one ends the process immediately, which the journal
    survives. Outside the main thread Python allows no handlers, and the flag is never set.
    """
    flag = StopFlag(message)
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def handle(number: int, frame: FrameType | None) -> None:
        flag.requested = True
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # RuntimeError: the signal came while the main thread was writing to the same stream.
        with suppress(RuntimeError):
            notify(signal.Signals(number).name)

    before = [signal.signal(each, handle) for each in _SIGNALS]
    try:
        yield flag
    finally:
        for each, old in zip(_SIGNALS, before, strict=True):
            signal.signal(each, signal.SIG_DFL if old is None else old)
