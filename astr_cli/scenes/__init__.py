"""Rendered scenes for training, validation and the quickstart: images, depths, intrinsics, pose; needs only torch."""
