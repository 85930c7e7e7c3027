"""Rendered scenes for training, validation and the quickstart: images, depths, intrinsics, pose; torch alone."""

from astr_cli.scenes.facades import render_facades
from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.overlap import overlap
from astr_cli.scenes.photometric import photometric
from astr_cli.scenes.planes import render_planes
from astr_cli.scenes.relief import render_relief
from astr_cli.scenes.rooms import render_rooms
from astr_cli.scenes.textures import procedural_textures

__all__ = [
    "ScenePair",
    "overlap",
    "photometric",
    "procedural_textures",
    "render_facades",
    "render_planes",
    "render_relief",
    "render_rooms",
]
