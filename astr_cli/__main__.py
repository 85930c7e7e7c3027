"""`python -m astr_cli` is the command `astr`."""

from .cli.app import main

if __name__ == "__main__":
    main()
