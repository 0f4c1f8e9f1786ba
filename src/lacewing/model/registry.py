"""Which loader opens a model: by what stands before the colon of its name.

    builtin:sparse, runs/mine     lacewing's own (`store`)
    hf:FOLDER_OR_NAME             a Hugging Face causal language model (`huggingface.load`)
    sae:FOLDER                    a model with its sparse autoencoders (`lacewing.sae.splice`)

A loader of your own opens `mine:ANYTHING` everywhere, `Circuit.load` and the command line included:

    lacewing.model.registry.register("mine:", my_loader)
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from lacewing.errors import ConfigError

HUGGING_FACE = "hf:"
Loader = Callable[[str], Any]
"""From the whole name to a `store.Model`."""
SPLICED = "sae:"
_HOME = {
    HUGGING_FACE: "lacewing.model.huggingface.load",
    SPLICED: "lacewing.sae.splice",
}
"""Modules with a function `load`, imported when they are needed: their libraries are extras."""
_registered: dict[str, Loader] = {}


def register(prefix: str, loader: Loader) -> None:
    """Let a loader open every name that begins with a prefix, in this process.

    Raises:
        ConfigError: the prefix is taken, or does not end with a colon.
    """
    if prefix in {*_HOME, "builtin:"} or not prefix.endswith(":") or len(prefix) < 3:
        raise ConfigError(
            f"{prefix!r} cannot be registered: take a word that ends with a colon, not builtin: or "
            f"{', '.join(_HOME)}"
        )
    _registered[prefix] = loader


def loader_of(source: str | Path) -> Loader | None:
    """What opens a model that is not lacewing's own; none for those that are."""
    prefix = prefix_of(source)
    if prefix in _registered:
        return _registered[prefix]
    if prefix in _HOME:
        loader: Loader = import_module(_HOME[prefix]).load
        return loader
    return None


def prefix_of(source: str | Path) -> str:
    """The registered beginning of a name; empty where there is none."""
    known = (*_registered, *_HOME)
    return next((prefix for prefix in known if str(source).startswith(prefix)), "")
