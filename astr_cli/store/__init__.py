"""Files on disk: the journal of a run, matches.h5, and a small reader of COLMAP cameras. No torch."""
