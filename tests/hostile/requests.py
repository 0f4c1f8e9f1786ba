"""Requests to every route of the viewer, and names of circuits that ship: one thing changed."""

import copy
import functools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hostile import pages, values
from hostile.judge import PATIENCE, Probe, cli
from hostile.pages import CIRCUIT, Asked, get, post
from hostile.table import Attack

ONE, TWO, MODEL = "site-run-circuits-one", "site-run-circuits-two", "site-run"
OPEN = "hf-gpt2"
"""Ids of circuits and models, as the viewer over a case's folder gives them."""
TRACE = {"text": "Xkfm=", "answer": "P", "rival": "Q", "share": 0.9, "find_partner": False}
SWITCHED = {
    "text": "Xkfm=",
    "answer": 40,
    "rival": 41,
    "held": [{"node": "0.mlp_neuron.1@2", "value": 1.5}],
    "tokens": 2,
}
EDITS = [{"off": "0.attn_in.1"}, {"node": "0.mlp_neuron.1", "value": 0.5}]
ASK = {"edits": EDITS, "ablation": "mean", "pair": 0, "member": "clean"}
NOTE = {"on": "circuit", "text": "a note"}
GROUPED = {"edits": [{"node": "0.mlp_neuron.3", "value": 0.5}], "pair": 0, "member": "corrupted"}


def _put(*path: str, body: Any) -> Asked:
    return Asked("PUT", path, {}, body)


def _drop(*path: str) -> Asked:
    return Asked("DELETE", path, {}, {})


def routes() -> dict[str, Asked]:
    """A request that is answered well, for every route; a test finds those left out."""
    circuit, model, opened = ("api", "circuits"), ("api", "models"), ("api", "groups", CIRCUIT)
    near = {**{k: SWITCHED[k] for k in ("text", "answer", "rival")}, "node": "0.mlp_neuron.1@2"}
    partner = {**TRACE, "answer": None, "rival": None, "partner": "Yfkm="}
    return {
        "home": get("api", "home"),
        "circuit": get(*circuit, ONE),
        "node": get(*circuit, ONE, "nodes", "0.attn_in.3"),
        "effects": get(*circuit, ONE, "effects"),
        "notes": get(*circuit, ONE, "notes"),
        "proposal": get(*circuit, ONE, "proposal"),
        "compare": get("api", "compare", left=ONE, right=TWO),
        "frontier": get("api", "frontier"),
        "emergences": get("api", "emergences"),
        "export": get(*circuit, ONE, "export", "graph.json", pair=0, member="clean"),
        "activations": get(*circuit, ONE, "activations", "0.attn_in.3", text="task"),
        "attention": get(*circuit, ONE, "attention", head="0.0", pair=0, member="clean"),
        "typed attention": post(*circuit, ONE, "attention", body={"text": "Xk=", "head": "0.0"}),
        "prompts": get(*circuit, ONE, "prompts"),
        "prompt": get(*circuit, ONE, "prompts", "0", member="clean"),
        "bridges": get(*circuit, ONE, "bridges"),
        "steered": get(*circuit, ONE, "bridges", "bridges", "0.attn_in.1"),
        "try": post(*circuit, ONE, "try", body={"text": "Xkfm="}),
        "ask": post(*circuit, ONE, "ask", body=ASK),
        "traceable": get("api", "traceable"),
        "trace": post(*model, MODEL, "trace", body=TRACE),
        "partner": post(*model, MODEL, "trace", body=partner),
        "open trace": post(*model, OPEN, "trace", body={"text": "Xkfm="}),
        "trace graph": post(*model, MODEL, "trace", "graph", body=TRACE),
        "cancel": post(*model, MODEL, "trace", "cancel", body=TRACE),
        "texts": get(*model, MODEL, "texts", "0.mlp_neuron.1"),
        "switched": post(*model, MODEL, "switched", body=SWITCHED),
        "near": post(*model, MODEL, "near", body=near),
        "groups": get(*opened),
        "group nodes": get(*opened, "nodes", group="0.attn_q:0", start=0),
        "group activations": get(*opened, "activations", "0.mlp_neuron.3", text="task"),
        "group ask": post(*opened, "ask", body=GROUPED),
        "group stop": post(*opened, "stop", body=GROUPED),
        "save": post(*circuit, ONE, "save", body={"name": "new", "edits": EDITS[:1]}),
        "annotation": _put(*circuit, ONE, "annotations", "n1", body=NOTE),
        "supernode": _put(
            *circuit, ONE, "supernodes", "s1", body={"name": "a", "members": ["0.attn_in.1"]}
        ),
        "no annotation": _drop(*circuit, ONE, "annotations", "one"),
        "no supernode": _drop(*circuit, ONE, "supernodes", "s1"),
        "verify": post(*circuit, ONE, "verify", body={"all": False}),
        "tasks": post(*model, MODEL, "tasks", body={}),
        "jobs": get("api", "jobs"),
        "job": get("api", "jobs", "1"),
        "cancelled job": post("api", "jobs", "1", "cancel", body={}),
        "page": get(""),
    }


def watching() -> dict[str, Asked]:
    """The same of what `watch --serve` answers; requests for text are `asked.json`."""
    return {
        "v1/models": get("v1", "models"),
        "v1/model": get("v1", "models", "run"),
        "metrics": get("metrics"),
        "api/watch": get("api", "watch", since=0),
    }


@dataclass(frozen=True)
class Requests:
    """One request of some, in which one thing is changed."""

    every: dict[str, Asked]
    application: Callable[[], Any]
    needs: tuple[str, ...]
    share: float = 2.0

    @property
    def probe(self) -> Probe:
        """Every request that is answered well, unchanged."""
        return functools.partial(_whole, every=self.every, application=self.application)

    def attack(self, work: Path, dice: random.Random) -> Attack:
        """Change one thing of one request, where it goes, what it asks, or how."""
        name = dice.choice(list(self.every))
        one = self.every[name]
        document: dict[str, Any] = {"path": list(one.path)}
        document |= {"query": dict(one.query)} if one.query else {}
        if one.body is not None:
            document["body"] = copy.deepcopy(one.body)
        kind = dice.choice(list(document) + ["body"] * 2 * (one.body is not None))
        document[kind], words = values.changed(document[kind], dice)
        path = document["path"]
        asked = replace(
            one,
            path=tuple(path) if isinstance(path, list) else (path,),
            query=_plain(document.get("query", {})),
            body=document.get("body"),
        )
        if dice.random() < 0.03:
            method = dice.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"))
            asked, words = replace(asked, method=method), f"{words}, with {method}"
        probe = functools.partial(_asked, asked=asked, application=self.application)
        starts = name in ("verify", "tasks")
        return Attack(f"{name}, {kind}: {words}", probe, True, starts)


def _plain(query: Any) -> dict[str, Any]:
    """A query as keys and values, whatever it has become."""
    if isinstance(query, values.Twice):
        return query.inside
    return query if isinstance(query, dict) else {"": query}


def _asked(work: Path, asked: Asked, application: Callable[[], Any]) -> Any:
    return pages.told([asked], application(), pages.FEW)


def _whole(work: Path, every: dict[str, Asked], application: Callable[[], Any]) -> Any:
    """Figures of what nobody changed; what is not there says so."""
    app = application()
    asked = [one for name, one in every.items() if name not in LONG]
    return pages.told(asked, app)


LONG = ("effects", "verify", "tasks", "job", "cancelled job")
"""Routes that begin work of many seconds, and those of such work."""


@dataclass(frozen=True)
class Names:
    """Names of circuits that ship, and of what does not."""

    needs: tuple[str, ...] = ("run",)
    share: float = 0.3

    @property
    def probe(self) -> Probe:
        """A circuit that ships, tested."""
        return functools.partial(_verified, name=NAME)

    def attack(self, work: Path, dice: random.Random) -> Attack:
        """Another name, of parts that are names and parts that are none."""
        parts = NAME.removeprefix("builtin:").split("/")
        for _ in range(dice.choice((1, 1, 2))):
            at = dice.randrange(len(parts) + 1)
            part = dice.choice((*PARTS, *values.NAMES[:20]))
            parts[at : at + dice.choice((0, 1))] = [part]
        name = dice.choice(("builtin:", "builtin:", "builtin:", "builtin:/", "BUILTIN:"))
        name += "/".join(parts)
        probe = functools.partial(_verified, name=name)
        return Attack(f"{name!r:.80}", probe, True, False, True, PATIENCE)


NAME = "builtin:taught-tiny/while_return_true/robust"
PARTS = ("plain", "minimal", "robust", "taught-tiny", "sparse", "tiny", "..", ".", "", "manifest")
PARTS += ("while_return_true", "../../circuits/taught-tiny", "*", "__init__.py", "robust/", "run")


def _verified(work: Path, name: str) -> Any:
    return cli("verify", "--circuit", name, "--quick", "--output", "new")


def requests(root: Path) -> dict[str, Requests | Names]:
    """The table, over the material in a folder."""
    from hostile.asked import application

    return {
        "requests": Requests(routes(), pages.viewer, ("site", "gpt2", CIRCUIT, "bridges")),
        "watching": Requests(watching(), application, ("run", "circuit", "watched"), 0.3),
        "names": Names(),
    }
