"""The console script `lacewing-blame`: the same command that lacewing shows as `blame`.

Results go to standard output, progress and errors to standard error. A mistake of the user's is one
line and exit code 2.
"""

import json
import os
import sys
from collections.abc import Sequence

import tyro

from lacewing_blame import __version__
from lacewing_blame.command import Blame
from lacewing_blame.errors import BlameError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        arguments: Its words; by default those of this program.

    Raises:
        SystemExit: with 2 for a mistake of the user's, with 130 for an interruption.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        print(f"lacewing-blame {__version__}")
        return
    try:
        blame = tyro.cli(Blame, prog="lacewing-blame", args=words)
        result = blame.run()
    except BlameError as error:
        print(f"lacewing-blame: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as stop:
        print("\nlacewing-blame: interrupted; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from stop
    try:
        print(json.dumps(result) if blame.json else blame.show(result), flush=True)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
