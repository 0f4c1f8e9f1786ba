"""Flags that several verbs have."""

from typing import Annotated

import tyro

Json = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""`--json`: end with one JSON object on standard output."""
Model = Annotated[str, tyro.conf.arg(metavar="MODEL")]
"""A run folder, or builtin:NAME."""
