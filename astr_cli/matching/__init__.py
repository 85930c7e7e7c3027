"""From a list of pairs to matches.h5: plan, decode threads, feature cache, journal, resume; and the Python API."""

from astr_cli.matching.events import Event, FailedPair, Listener, MatchSummary
from astr_cli.matching.forecast import Forecast, forecast
from astr_cli.matching.matcher import Matcher, Matches
from astr_cli.matching.options import (
    MatchOptions,
    OptionError,
    parse_size,
)
from astr_cli.matching.run import match_pairs
from astr_cli.matching.stopwatch import Stopwatch

__all__ = [
    "Event",
    "FailedPair",
    "Forecast",
    "Listener",
    "MatchOptions",
    "MatchSummary",
    "Matcher",
    "Matches",
    "OptionError",
    "Stopwatch",
    "forecast",
    "match_pairs",
    "parse_size",
]
