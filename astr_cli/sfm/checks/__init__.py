"""Checks of files with matches and of databases, from astr or other programs."""
