"""`python -m astr_cli` is the command `astr`."""

from astr_cli.cli.app import main

if __name__ == "__main__":
    main()
