"""lacewing: language models that are readable by construction.

Names are imported when they are first used, so that `lacewing --help` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers see
    from lacewing import tasks as tasks
    from lacewing.attacks.attack import Attacks as Attacks
    from lacewing.attacks.attack import attack as attack
    from lacewing.circuit.circuit import Circuit as Circuit
    from lacewing.circuit.config import PruneConfig as PruneConfig
    from lacewing.circuit.notebook import show as show
    from lacewing.comparison import compare as compare
    from lacewing.data.corpus import Corpus as Corpus
    from lacewing.errors import LacewingError as LacewingError
    from lacewing.model.config import ModelConfig as ModelConfig
    from lacewing.model.hooks import edit as edit
    from lacewing.model.hooks import record as record
    from lacewing.model.store import load as load
    from lacewing.model.transformer import Transformer as Transformer
    from lacewing.programs.program import program as program
    from lacewing.pruning.prune import prune as prune
    from lacewing.training.config import TrainConfig as TrainConfig
    from lacewing.training.loop import train as train
    from lacewing.training.twin import train_twin as train_twin
    from lacewing.verification.verify import Verification as Verification
    from lacewing.verification.verify import verify as verify

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
    "Verification": "lacewing.verification.verify",
    "attack": "lacewing.attacks.attack",
    "compare": "lacewing.comparison",
    "edit": "lacewing.model.hooks",
    "load": "lacewing.model.store",
    "program": "lacewing.programs.program",
    "prune": "lacewing.pruning.prune",
    "record": "lacewing.model.hooks",
    "show": "lacewing.circuit.notebook",
    "train": "lacewing.training.loop",
    "train_twin": "lacewing.training.twin",
    "verify": "lacewing.verification.verify",
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
