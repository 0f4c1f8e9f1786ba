"""Answers as JSON: what the routes send, and what a read-only copy holds."""

import json
from dataclasses import asdict
from typing import Any, Literal

from lacewing.explain.labels import FILE
from lacewing.viewer import (
    attention,
    describe,
    edits,
    effects,
    emergences,
    frontier,
    groups,
    home,
    meanings,
    notes,
    texts,
)
from lacewing.viewer.state import MissingError, Viewer
from lacewing.viewer.turns import Work

Member = Literal["clean", "corrupted"]


def encoded(value: Any) -> bytes:
    """A plain value as JSON; no NaN, which browsers do not read."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def home_json(viewer: Viewer, writable: bool = True) -> bytes:
    """The first page."""
    found = home.home(viewer)
    return encoded(found if writable else found | {"writable": False, "jobs": [], "shipped": []})


def compare_json(viewer: Viewer, left: str, right: str) -> bytes:
    """Two circuits side by side."""
    return encoded(home.compare(viewer, left, right))


def frontier_json(viewer: Viewer) -> bytes:
    """Points of sweeps and comparisons."""
    return encoded(frontier.frontier(viewer))


def emergences_json(viewer: Viewer) -> bytes:
    """States of trainings."""
    return encoded(emergences.emergences(viewer))


def notes_json(viewer: Viewer, id: str) -> bytes:
    """What people added to a circuit."""
    return notes.read(viewer.found(id).folder).model_dump_json().encode()


def circuit_json(viewer: Viewer, id: str) -> bytes:
    """The answer of a circuit."""
    session = viewer.session(id)
    found = viewer.found(id)
    return describe.circuit_answer(
        found, session.model, session.circuit, session.prompts, notes.read(found.folder)
    )


def node_json(viewer: Viewer, id: str, node: str) -> bytes:
    """The answer of a node."""
    session = viewer.session(id)
    edits.check_node(node, session.model)
    found = viewer.found(id)
    effect = effects.effect(session, node)
    answer = describe.detail(session, node, notes.read(found.folder), effect)
    return answer.model_dump_json().encode()


def effects_json(viewer: Viewer, id: str) -> bytes:
    """Ablation effects as far as they are measured."""
    session = viewer.session(id)
    key = ("effects", id, session.found.core)
    work = viewer.slowly.get(key, lambda work: effects.measure(session, work))
    _failed(work)
    value = work.value or {"loss": None, "pairs": None, "nodes": {}, "edges": {}}
    progress = {"state": work.state, "done": work.done, "total": work.total}
    copied = {k: dict(v) if isinstance(v, dict) else v for k, v in value.items()}
    return encoded(progress | copied)


def activations_json(viewer: Viewer, id: str, node: str, text: str) -> bytes:
    """Where a node is active, or how far the computing is."""
    session = viewer.session(id)
    edits.check_node(node, session.model)
    if text == "task":
        sequences = texts.of_prompts(session.prompts)
    else:
        work = viewer.natural(session)
        if work.problem is not None:
            raise MissingError(str(work.problem))
        if work.state != "ready":
            return encoded(_computing(node, text, work))
        sequences = work.value
    names = texts.around(session.circuit, node)
    key = ("values", id, session.found.core, text, names[0])
    work = viewer.background.get(
        key, lambda work: texts.values(session.model, names, sequences, viewer.turns, work)
    )
    _failed(work)
    if work.state != "ready":
        return encoded(_computing(node, text, work))
    found = work.value[names.index(node)]
    meaning = meanings.meanings(describe.beside(viewer.found(id), FILE)).get(node)

    def made() -> bytes:
        said = meanings.holds(session.model, meaning, sequences) if meaning else None
        return encoded(texts.answer(node, text, found, sequences, session.model, said))

    predicate = (meaning.predicate, meaning.opposite) if meaning else None
    return viewer.answers.get(("activations", id, session.found.core, text, node, predicate), made)


def _computing(node: str, text: str, work: Work) -> dict[str, Any]:
    progress = {"state": "computing", "done": work.done, "total": work.total, "groups": []}
    return {"node": node, "text": text} | progress


def _failed(work: Work) -> None:
    if work.problem is not None:
        raise work.problem


def attention_json(viewer: Viewer, id: str, head: str, pair: int, member: Member) -> bytes:
    """A head's patterns on a test prompt."""
    session = viewer.session(id)
    sequence = session.sequence(pair, member)
    tokens = session.prompts.tokens[sequence, : int(session.prompts.last[sequence]) + 1].tolist()
    chosen = session.prompts.pairs[pair]
    answer = chosen.clean_answer if member == "clean" else chosen.corrupted_answer
    return encoded(attention.patterns(session, head, tokens, answer))


def prompt_json(viewer: Viewer, id: str, index: int, member: Member) -> bytes:
    """A test prompt, answered."""
    return viewer.session(id).answer_pair(index, member).model_dump_json().encode()


def prompts_json(viewer: Viewer, id: str) -> bytes:
    """The test pairs that questions are asked of: all, of latents the first ones."""
    pairs = viewer.session(id).prompts.pairs
    return encoded({"pairs": [{"index": i} | asdict(p) for i, p in enumerate(pairs)]})


def proposal_json(viewer: Viewer, id: str) -> bytes:
    """Supernodes proposed."""
    session = viewer.session(id)
    explained = describe.beside(viewer.found(id), FILE)
    alike = meanings.alike(explained, session.circuit)
    by_wiring = groups.proposal(session.model, session.circuit)
    return encoded({"supernodes": alike + by_wiring})
