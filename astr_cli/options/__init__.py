"""Every option of astr, declared once: a field of a frozen dataclass. Standard library only.

Each declaration yields the command line (`cli/generated.py`), the stored attributes, the keywords of the Python API,
the names in `--config` files, and docs/options.md.
"""
