"""Figures as they are compared: without times and places."""

from typing import Any

VOLATILE = ("seconds", "folder", "page", "changed", "commands", "stamp", "jobs")
"""What figures say of times and places."""


def steady(value: Any) -> Any:
    """Figures without what depends on times and places."""
    if isinstance(value, dict):
        return {k: steady(v) for k, v in value.items() if k not in VOLATILE}
    return [steady(v) for v in value] if isinstance(value, list | tuple) else value
