"""matches.h5 in the forms that other pipelines read."""
