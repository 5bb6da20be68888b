"""`python -m mspn`: the `mspn` command, for torchrun."""

from mspn.cli.app import main

main()
