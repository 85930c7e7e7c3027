"""Structure from motion: tracks, the COLMAP database, verification, mapping. The only part that knows pycolmap.

`astr_cli.sfm.reconstruction` is separate, as it also needs torch.
"""
