"""Structure from motion: tracks, the COLMAP database, verification, mapping. The only part that knows pycolmap.

`astr_cli.sfm.reconstruct` is separate, as it also needs torch.
"""
