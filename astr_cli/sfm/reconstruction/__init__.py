"""`astr reconstruct`: a folder of photos to a model."""
