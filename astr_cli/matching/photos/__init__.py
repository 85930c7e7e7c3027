"""The photos of a run: their sizes and intrinsics, their decoding, their rotation."""
