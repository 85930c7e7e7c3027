"""A COLMAP database: its cameras, keypoints and matches, written completely or not at all, and verified."""
