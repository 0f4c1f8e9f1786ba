"""Which agent, at which step, made a multi-agent run fail?

A log of any known format becomes a `Trace` of events; a method turns a trace into an `Attribution`,
a ranking of its steps. What is read off a log alone is a suspicion; only a replay shows a cause.

Names are imported when they are first used, so that `lacewing-blame --help` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lacewing_blame.attribution import Attribution, Evidence, Suspect
    from lacewing_blame.errors import BlameError
    from lacewing_blame.events import Event, Label, Trace, conversation
    from lacewing_blame.llm.client import Client
    from lacewing_blame.llm.endpoint import Endpoint
    from lacewing_blame.llm.many import attribute_all
    from lacewing_blame.llm.methods import attribute
    from lacewing_blame.llm.prompts import Options
    from lacewing_blame.pages.page import page
    from lacewing_blame.ranker.crossval import cross_validate
    from lacewing_blame.ranker.flow import data_flow
    from lacewing_blame.ranker.ranking import rank
    from lacewing_blame.ranker.spectrum import rank_with_spectrum, spectrum
    from lacewing_blame.ranker.train import train_ranker
    from lacewing_blame.ranker.weights import Ranker
    from lacewing_blame.reading.read import read, read_folder
    from lacewing_blame.replay import effect, find_cause
    from lacewing_blame.scoring import score

_WHERE = {
    "Attribution": "attribution",
    "BlameError": "errors",
    "Client": "llm.client",
    "Endpoint": "llm.endpoint",
    "Event": "events",
    "Evidence": "attribution",
    "Label": "events",
    "Options": "llm.prompts",
    "Ranker": "ranker.weights",
    "Suspect": "attribution",
    "Trace": "events",
    "attribute": "llm.methods",
    "attribute_all": "llm.many",
    "conversation": "events",
    "cross_validate": "ranker.crossval",
    "data_flow": "ranker.flow",
    "effect": "replay",
    "find_cause": "replay",
    "page": "pages.page",
    "rank": "ranker.ranking",
    "rank_with_spectrum": "ranker.spectrum",
    "read": "reading.read",
    "read_folder": "reading.read",
    "score": "scoring",
    "spectrum": "ranker.spectrum",
    "train_ranker": "ranker.train",
}

__all__ = [
    "Attribution",
    "BlameError",
    "Client",
    "Endpoint",
    "Event",
    "Evidence",
    "Label",
    "Options",
    "Ranker",
    "Suspect",
    "Trace",
    "__version__",
    "attribute",
    "attribute_all",
    "conversation",
    "cross_validate",
    "data_flow",
    "effect",
    "find_cause",
    "page",
    "rank",
    "rank_with_spectrum",
    "read",
    "read_folder",
    "score",
    "spectrum",
    "train_ranker",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'lacewing_blame' has no attribute {name!r}")
    return getattr(import_module(f"lacewing_blame.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
