"""From a list of pairs to matches.h5: plan, decode threads, feature cache, journal, resume; and the Python API."""
