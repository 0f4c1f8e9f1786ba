"""Traces of typed prompts: any model that is served, or was named when the viewer was started.

Models are loaded here a second time, with turns of their own: a trace of many seconds keeps nobody
waiting who looks at a circuit.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacewing.errors import DataError, LacewingError
from lacewing.model.registry import SPLICED, prefix_of
from lacewing.model.sites import parse_node
from lacewing.model.store import Model, load
from lacewing.progress import watched
from lacewing.sae import folder as autoencoders
from lacewing.sae.splice import spliced
from lacewing.trace.hints import hints
from lacewing.trace.near import near
from lacewing.trace.open import open_trace
from lacewing.trace.open_views import heads_of, look_of, open_views, recorded
from lacewing.trace.partner import find_partner, given_partner
from lacewing.trace.switched import go_on, next_logits, switch_of
from lacewing.trace.trace import pair_ids, prompt_ids, trace
from lacewing.viewer import reading, sample, texts
from lacewing.viewer.answers import AskNear, AskSwitched, AskTrace
from lacewing.viewer.edits import check_node
from lacewing.viewer.exports.answer import answer_graph
from lacewing.viewer.folder import slug
from lacewing.viewer.known import Known, known, named
from lacewing.viewer.state import Latest, MissingError, Viewer
from lacewing.viewer.things import Latents
from lacewing.viewer.turns import Background, CancelledError, Turns, Work

MODELS = 2
"""Kept for traces."""
SENT = 300
"""Nodes of a trace that are sent, the largest effects; the page shows fewer at first."""
ATTRIBUTED = 48
"""Nodes kept of a model that is not lacewing's own: each asks for a pass back through it."""
WAITING = 8
"""Traces that may wait; more are refused."""
TOP = 8
"""Likeliest next tokens that are told."""
PATIENCE = 900.0
"""Seconds that a trace waits for its turn."""
READ, READ_OPEN = 32_768, 3072
"""Tokens of text that a node is looked for in: in our own models, and in those of others."""
PIECE, PIECE_OPEN = 16, 4
"""Windows of them run at once; a person waits for so many at most."""


class Tracing:
    """The models that can be traced, and what was asked of them."""

    def __init__(self, viewer: Viewer) -> None:
        """Trace over a viewer's folder and models."""
        self.viewer = viewer
        self.turns, self.background = Turns(), Background(kept=16)
        self.slowly = Background(kept=8)
        self._models: Latest[str, Model] = Latest(MODELS)
        self._latents: Latest[tuple[Path, int], Model] = Latest(MODELS)
        """By the folder of the autoencoders and its stamp."""

    def sources(self) -> dict[str, tuple[str, str]]:
        """By id, the source and the name of every model: those asked for first."""
        named = {slug(source): (source, source) for source in self.viewer.models}
        runs = self.viewer.library.contents().runs
        return named | {id: (run.source, run.name) for id, run in runs.items() if id not in named}

    def listed(self) -> dict[str, Any]:
        """What the page offers."""
        every = self.sources().items()
        return {
            "models": [
                {"id": id, "name": name, "ours": not prefix_of(source)}
                for id, (source, name) in every
            ]
        }

    def source(self, id: str) -> str:
        """Where a model is loaded from.

        Raises:
            MissingError: there is none of this id.
        """
        found = self.sources().get(id)
        if found is None:
            raise MissingError("there is no such model (any more)")
        return found[0]

    def model(self, id: str) -> Model:
        """A loaded model."""
        return self.opened(self.source(id))

    def opened(self, source: str, latents: Latents | None = None) -> Model:
        """A model by where it is loaded from; who runs it takes one of `turns`.

        Args:
            source: Where.
            latents: Autoencoders of it, whose latents are to be its nodes; the model under them is
                the one that is open already.
        """
        model = self._models.get(source, lambda: load(source))
        if latents is None:
            return model
        folder = latents.folder
        return self._latents.get(
            (folder, latents.stamp),
            lambda: spliced(model, autoencoders.read(folder, model), f"{SPLICED}{folder}"),
        )

    def trace(self, id: str, asked: AskTrace) -> dict[str, Any]:
        """A trace, or how far it is; the same question again finds what the first one began.

        Raises:
            MissingError: there is no such model.
            LacewingError: whatever is wrong with the prompt, or the model.
            BusyError: too many others wait.
        """
        if not asked.text:
            raise DataError("the prompt is empty: type at least one character")
        source = self.source(id)
        start = time.monotonic()

        def run(work: Work) -> dict[str, Any]:
            with watched(work.tell):
                work.tell("loading the model", 0, 1)
                model = self.model(id)
                work.tell("waiting for its turn", 0, 1)
                with self.turns.person(PATIENCE):
                    said = _traced(model, asked)
            return said | {"seconds": round(time.monotonic() - start, 2)}

        key = (source, asked.model_dump_json())
        work = self.background.get(key, run, WAITING)
        if work.problem is not None:
            self.background.forget(key)  # what was wrong may be mended by then
            raise _plain(work.problem)
        if work.state != "ready":
            far = {"done": work.done, "total": work.total, "note": work.note}
            return {"state": "computing", **far}
        said = named(work.value, self._known(id), work.value["hints"])
        return {"state": "ready", **work.value, **said}

    def graph(self, id: str, asked: AskTrace) -> dict[str, Any]:
        """A trace as an attribution graph that circuit-tracer's page and Neuronpedia read.

        Raises:
            MissingError: there is no such model.
            LacewingError: as `trace`.
        """
        found = self.trace(id, asked)
        if found["state"] != "ready":
            return found
        model, columns = self.model(id), found["edges"]
        rows = zip(columns["source"], columns["target"], columns["weight"], strict=True)
        plain = {
            **found,
            "ids": {**found["ids"], "tokens": list(prompt_ids(model, asked.text))},
            "edges": [{"source": s, "target": t, "weight": w} for s, t, w in rows],
        }
        return {"state": "ready", "graph": answer_graph(plain, model)}

    def cancel(self, id: str, asked: AskTrace) -> dict[str, Any]:
        """Want a trace no longer: what is computed for it ends at its next step.

        Raises:
            MissingError: there is no such model.
        """
        key = (self.source(id), asked.model_dump_json())
        return {"cancelled": self.background.cancel(key)}

    def switched(self, id: str, asked: AskSwitched) -> dict[str, Any]:
        """A traced prompt with nodes off or held: the answers, and what the model goes on with."""
        model, start = self.model(id), time.perf_counter()
        tokens, answer, rival = _ends(model, asked)
        switches = [switch_of(model, tokens, one.node, one.value) for one in asked.held]
        with self.turns.person():
            sides = {"before": next_logits(model, tokens)}
            sides["now"] = next_logits(model, tokens, switches) if switches else sides["before"]
            written = {
                name: go_on(model, tokens, asked.tokens, switches if name == "now" else ())
                for name in sides
                if asked.tokens
            }
        found: dict[str, Any] = {
            name: {
                "difference": _finite(float(logits[answer] - logits[rival])),
                "top": _top(model, logits),
                "text": written.get(name),
            }
            for name, logits in sides.items()
        }
        return found | {"milliseconds": round(1000 * (time.perf_counter() - start))}

    def near(self, id: str, asked: AskNear) -> dict[str, Any]:
        """Any node at a token: what drives it, what it drives, what it is by the weights."""
        model = self.model(id)
        tokens, answer, rival = _ends(model, asked)
        switch = switch_of(model, tokens, asked.node)
        with self.turns.person():
            found = near(model, tokens, answer, rival, switch)
            at = len(tokens) - 1 if switch.token is None else switch.token
            looks = []
            if heads := heads_of(model, f"{switch.key}.{switch.channel}")[:1]:
                layer = int(switch.key.partition(".")[0])
                seen = recorded(model, tokens)
                query = at if switch.key.endswith("attn_q") else len(tokens) - 1
                looks = [asdict(look_of(model, seen, (layer, heads[0]), query))]
        node, known = asked.node.partition("@")[0], self._known(id)
        said = known.meanings.get(node)
        tokens_of = None
        if not model.is_open:
            read = reading.reads(model, switch.key, switch.channel)
            written = reading.writes(model, switch.key, switch.channel)
            tokens_of = {
                "reads": read and read.model_dump(),
                "writes": written and written.model_dump(),
            }
        return asdict(found) | {
            "node": node,
            "token": at,
            "looks": looks,
            "weights": tokens_of,
            "meaning": said and said.model_dump(),
            "circuits": known.circuits.get(node, []),
        }

    def texts(self, id: str, node: str) -> dict[str, Any]:
        """Where in natural text any node of a model acts most, or how far the reading is.

        Raises:
            MissingError: there is no such model.
            DataError: the model has no such node, or its text cannot be read.
            BusyError: too many others wait.
        """
        model = self.model(id)
        check_node(node, model)

        def run(work: Work) -> Any:
            spec = self.viewer.corpus or model.corpus
            if self.viewer.corpus is None:
                sample.check(spec, self.viewer.library.root)
            tokens, piece = (READ_OPEN, PIECE_OPEN) if model.is_open else (READ, PIECE)
            windows = max(1, tokens // model.network.config.context)
            found = texts.of_documents(model, sample.read(spec, windows))
            return found, texts.values(model, [node], found, self.turns, work, piece)[0]

        key = (model.id, self.viewer.corpus, node)
        work = self.slowly.get(key, run, WAITING)
        if work.problem is not None:
            self.slowly.forget(key)
            raise _plain(work.problem)
        if work.state != "ready":
            return {"state": "computing", "done": work.done, "total": work.total}
        found, values = work.value
        return texts.answer(node, "natural", values, found, model)

    def close(self) -> None:
        """Begin nothing more."""
        self.turns.close()
        self.background.stop()
        self.slowly.stop()

    def _known(self, id: str) -> Known:
        viewer = self.viewer
        return known(viewer.library.contents(), self.model(id).id, viewer.rows.get)


def _plain(problem: Exception) -> Exception:
    """What went wrong, as told on the page, where there are no flags."""
    if isinstance(problem, CancelledError):
        return DataError("this trace was cancelled elsewhere: ask again")
    if isinstance(problem, LacewingError):
        return type(problem)(str(problem).replace("--", ""))
    return problem


def _ends(model: Model, asked: AskSwitched | AskNear) -> tuple[tuple[int, ...], int, int]:
    tokens = prompt_ids(model, asked.text)
    nothing = torch.zeros(model.network.config.vocab_size)
    return tokens, *pair_ids(model, nothing, asked.answer, asked.rival)


def _traced(model: Model, asked: AskTrace) -> dict[str, Any]:
    """A trace of any model as the page reads it."""
    tokens = prompt_ids(model, asked.text)
    with torch.inference_mode():
        logits = model.network(torch.tensor([tokens]))[0, -1]
    answer, rival = pair_ids(model, logits, asked.answer, asked.rival)
    partner = None
    if asked.partner:
        given = prompt_ids(model, asked.partner)
        partner = given_partner(model, tokens, given, answer, rival)
    elif asked.find_partner:
        partner = find_partner(model, tokens, answer, rival)
    other = None if partner is None else partner.tokens
    if model.is_open:
        found = open_trace(model, tokens, answer, rival, nodes=ATTRIBUTED, partner=other)
        nodes, edges = found.nodes, found.edges
        views = open_views(model, tokens, answer, rival, found.nodes)
        plain = found.as_json() | views.as_json()
    else:
        exact = trace(model, asked.text, answer, rival, asked.share, other)
        nodes, edges = exact.graph.nodes, exact.graph.edges
        plain = exact.as_json()
    config = model.network.config
    said = hints(model, nodes, edges, plain["tokens"])
    return _fewer(plain) | {
        "hints": {name: hint.as_json(plain["tokens"]) for name, hint in said.items()},
        "partner": partner and partner.as_json(model, tokens),
        "means": _means(model, [n["node"] for n in plain["nodes"][:SENT]]),
        "ids": {"answer": answer, "rival": rival},
        "top": _top(model, logits),
        "spared": model.network.spared,
        "shape": {"layers": config.n_layer, "d_head": config.d_head, "heads": config.n_head},
    }


def _fewer(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A trace with its largest nodes alone; what the others gave them is part of their rest."""
    nodes = [dict(node) for node in plain["nodes"][:SENT]]
    index = {f"{node['node']}@{node['token']}": at for at, node in enumerate(nodes)}
    edges: dict[str, list[Any]] = {"source": [], "target": [], "weight": []}
    for edge in plain["edges"]:
        source, target = edge["source"], edge["target"]
        left_out = "." in source and source not in index
        if target in index and left_out:
            nodes[index[target]]["rest"] += edge["weight"]
        elif (target in index or target == "answer") and not left_out:
            for name, column in edges.items():
                column.append(edge[name])
    return {**plain, "nodes": nodes, "edges": edges, "kept": len(plain["nodes"])}


def _means(model: Model, nodes: list[str]) -> dict[str, float]:
    """The mean over text of each node."""
    places = {node: parse_node(node) for node in nodes}
    return {node: round(float(model.means[k][c]), 6) for node, (k, c) in places.items()}


def _top(model: Model, logits: Tensor) -> list[dict[str, Any]]:
    """The likeliest next tokens."""
    chances = logits.softmax(0)
    return [
        {"token": t, "text": model.tokenizer.token(t), "p": round(_finite(float(chances[t])), 6)}
        for t in chances.topk(min(TOP, len(chances))).indices.tolist()
    ]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise DataError("with these values the model gives no finite answer: hold them nearer to 0")
    return value
