"""matches.h5 in the formats of other pipelines."""
