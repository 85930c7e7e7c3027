"""Which photos to match with which."""
