"""COLMAP's mapper, and figures of its models: cameras, agreement of pairs, position on the earth."""
