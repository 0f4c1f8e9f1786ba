"""lacewing: language models that are readable by construction.

Names are imported when they are first used, so that `lacewing --help` needs no torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Attacks": "lacewing.attacks.attack",
    "Circuit": "lacewing.circuit.circuit",
    "Corpus": "lacewing.data.corpus",
    "LacewingError": "lacewing.errors",
    "ModelConfig": "lacewing.model.config",
    "PruneConfig": "lacewing.circuit.config",
    "TrainConfig": "lacewing.training.config",
    "Transformer": "lacewing.model.transformer",
    "Verification": "lacewing.verification.short",
    "attack": "lacewing.attacks.attack",
    "compare": "lacewing.compare",
    "edit": "lacewing.model.hooks",
    "load": "lacewing.model.store",
    "program": "lacewing.programs.program",
    "prune": "lacewing.pruning.prune",
    "record": "lacewing.model.hooks",
    "show": "lacewing.viewer.notebook",
    "train": "lacewing.training.loop",
    "train_twin": "lacewing.training.twin",
    "verify": "lacewing.verification.short",
}
_MODULES = ("tasks",)

__all__ = sorted([*_WHERE, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name in _MODULES:
        return import_module(f"lacewing.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'lacewing' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
