"""Structure from motion: tracks, the COLMAP database, verification, mapping. The only part that knows pycolmap.

`astr_cli.sfm.reconstruct` stands apart, as it needs torch too.
"""
