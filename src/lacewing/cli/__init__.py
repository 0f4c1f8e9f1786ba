"""The command line: one file per verb, its flags and what it prints."""

from lacewing.cli.app import main

__all__ = ["main"]
