"""Refinement on the original pixels by least-squares matching: knows arrays, affine maps and pyramids, no files.

`tracks.refine_tracks`  all observations of every track, aligned to one of them
`pairs.refine_pair`  the matches of one pair, the end on the grid fixed
`planning`  how the observations of a track look beside each other
`rules`  what happens to observations that could not be refined, and the figures to print
"""
