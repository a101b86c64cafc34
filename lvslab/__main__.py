"""`python -m lvslab` is the `lvslab` command."""

from lvslab.cli import main

main()
