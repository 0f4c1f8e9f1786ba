"""The command line: one file per verb, its flags and what it prints."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; an interruption while the program still loads is one line too."""
    try:
        from lacewing.cli.app import main as run
    except KeyboardInterrupt:
        print("lacewing: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    run(arguments)


__all__ = ["main"]
