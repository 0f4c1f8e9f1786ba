"""Circuits of open models over HTTP: groups, strongest nodes, texts, and what switches change.

Models are those that traces load, with the same turns. Whatever takes longer than a moment is work
in the background: the answer says how far it is, and asking again finds what the first one began.
"""

from collections.abc import Callable
from typing import Any

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import kept_at
from lacewing.errors import DataError, MismatchError
from lacewing.explain.labels import FILE
from lacewing.model.sites import parse_node
from lacewing.tasks.batch import encode
from lacewing.verification.verify import saved_verification
from lacewing.viewer import meanings, sample, texts
from lacewing.viewer.answers import AskGroups
from lacewing.viewer.describe import beside, described, told
from lacewing.viewer.edits import check_node
from lacewing.viewer.grouped import group_of, listed, strongest
from lacewing.viewer.latents import counts, part_of
from lacewing.viewer.opened import PAIRS, RANKED, OpenSession, Switches
from lacewing.viewer.state import MissingError, Viewer, no_model, open_source
from lacewing.viewer.texts import Sequences
from lacewing.viewer.things import Found
from lacewing.viewer.tracing import Tracing
from lacewing.viewer.turns import Background, BusyError, CancelledError, Work

SESSIONS = 4
"""Kept open; the model of each is shared."""
WAITING = 8
"""Questions that may wait; more are refused."""
SENT = 100
"""Nodes told of at once."""
NATURAL = 24
"""Windows of natural text."""


class Opening:
    """The opened circuits of open models, and what was asked of them."""

    def __init__(self, viewer: Viewer, tracing: Tracing) -> None:
        """Open circuits of a viewer's folder with the models that traces have."""
        self.viewer, self.tracing = viewer, tracing
        self.background = Background(kept=24)
        self.slowly = Background(kept=24)
        """For strengths and texts, which an answer to a switch need not wait for."""
        self.opener = Background(kept=SESSIONS)
        """Loads models, which may take minutes where their means were never measured."""

    def session(self, id: str) -> OpenSession:
        """An opened circuit.

        Raises:
            MissingError: there is none of this id.
            MismatchError: it is none of an open model that is served.
            BusyError: it is being opened.
        """
        if (session := self.opened(id)) is None:
            raise BusyError("the model is being loaded: try again in a moment")
        return session

    def opened(self, id: str) -> OpenSession | None:
        """The same; none while it is being opened."""
        found = self.viewer.found(id)
        source = open_source(self.viewer, found)
        if source is None:
            ours = "a circuit of lacewing's own model is drawn, not shown in groups"
            raise MismatchError(ours if found.run else no_model(self.viewer, found))
        key = ("open", found.id, found.core)
        work = self._running(self.opener, key, lambda work: self._open(found, source))
        session: OpenSession | None = work.value
        return session

    def _open(self, found: Found, source: str) -> OpenSession:
        circuit = Circuit.load(found.folder)
        model = self.tracing.opened(source, found.latents)
        circuit.check(model)
        if not circuit.pairs:
            raise DataError("the circuit has no test pairs, so that nothing can be asked of it")
        context = model.network.config.context
        prompts = encode(circuit.pairs[:PAIRS], model.tokenizer, context)
        return OpenSession(found, model, circuit, prompts, len(circuit.pairs), self.tracing.turns)

    def overview(self, id: str) -> dict[str, Any]:
        """The circuit in groups; how strong each is, once that is measured."""
        session = self.opened(id)
        if session is None:
            return {"state": "opening"}
        found, circuit, config = session.found, session.circuit, session.model.network.config
        work = self._strengths(session)
        verification = saved_verification(found.folder)
        return {
            "state": "ready",
            "id": id,
            "task": circuit.task,
            "description": described(circuit.task),
            "model": session.model.name or session.model.source,
            "layers": config.n_layer,
            "nodes": circuit.n_nodes,
            "all_nodes": sum(map(len, session.model.means.values())),
            "edges": None if counts(session.model) else circuit.n_edges,
            "latents": counts(session.model),
            "target_loss": circuit.target_loss,
            "losses": dict(circuit.losses),
            "verdict": told(circuit.n_nodes, verification),
            "ablation": session.ablation,
            "pairs": len(session.prompts),
            "of": session.total,
            "ranked": min(RANKED, len(session.prompts)),
            "strengths": {"state": work.state, "done": work.done, "total": work.total},
            "groups": listed(circuit, config, work.value),
            "prompts": [
                {"clean": pair.clean, "corrupted": pair.corrupted} for pair in session.prompts.pairs
            ],
        }

    def _strengths(self, session: OpenSession) -> Work:
        key = ("strengths", session.found.id, session.found.core)
        return self._running(self.slowly, key, session.strengths)

    def nodes(self, id: str, group: str, start: int) -> dict[str, Any]:
        """The strongest nodes of a group, some at a time."""
        session = self.session(id)
        one = group_of(group, session.circuit, session.model.network.config)
        strengths = self._strengths(session).value
        explained = meanings.meanings(beside(session.found, FILE))
        rows = strongest(one, session.model.means, strengths, start, SENT)
        for row in rows:
            said = explained.get(row["node"])
            row["meaning"] = said and said.model_dump()
            row["part"], row["number"] = part_of(session.model, *parse_node(row["node"]))
        return {
            "group": one.name,
            "total": len(one.channels),
            "start": start,
            "ranked": strengths is not None,
            "nodes": rows,
        }

    def activations(self, id: str, node: str, text: str) -> dict[str, Any]:
        """A node's values in the prompts or in natural text, or how far the reading is."""
        session = self.session(id)
        key, channel = check_node(node, session.model)
        kept = kept_at(session.circuit.nodes, key).tolist()
        at = kept.index(channel) // texts.TOGETHER * texts.TOGETHER if channel in kept else None
        around = [channel] if at is None else kept[at : at + texts.TOGETHER]
        names = [f"{key}.{one}" for one in around]

        def run(work: Work) -> Any:
            sequences = self._sequences(session, text)
            turns = session.turns
            return sequences, texts.values(session.model, names, sequences, turns, work, 4)

        place = ("values", session.found.id, session.found.core, text, names[0], len(names))
        work = self._running(self.slowly, place, run)
        if work.state != "ready":
            progress = {"state": "computing", "done": work.done, "total": work.total}
            return {"node": node, "text": text, "groups": []} | progress
        sequences, values = work.value
        return texts.answer(node, text, values[names.index(node)], sequences, session.model)

    def _sequences(self, session: OpenSession, text: str) -> Sequences:
        if text == "task":
            return texts.of_prompts(session.prompts)
        spec = self.viewer.corpus or session.model.corpus
        if self.viewer.corpus is None:
            sample.check(spec, self.viewer.library.root)
        return texts.of_documents(session.model, sample.read(spec, NATURAL))

    def ask(self, id: str, asked: AskGroups) -> dict[str, Any]:
        """What the circuit does with groups and nodes off, or how far the measuring is."""
        session = self.session(id)
        switches = Switches.of(asked.edits, session.circuit, session.model)
        if asked.pair >= len(session.prompts):
            raise DataError(f"there is no pair {asked.pair} here: {len(session.prompts)} are asked")
        key = self._asked(session, asked)
        work = self._running(self.background, key, lambda work: session.asked(switches, work))
        if work.state != "ready":
            return {"state": "computing", "done": work.done, "total": work.total}
        found = session.told(work.value, switches, asked.pair, asked.member)
        return {"state": "ready"} | found

    def stop(self, id: str, asked: AskGroups) -> dict[str, Any]:
        """Let a question go that was asked before."""
        self.background.cancel(self._asked(self.session(id), asked))
        return {}

    @staticmethod
    def _asked(session: OpenSession, asked: AskGroups) -> Any:
        edits = tuple(edit.model_dump_json(exclude_none=True) for edit in asked.edits)
        return "asked", session.found.id, session.found.core, edits

    @staticmethod
    def _running(queue: Background, key: Any, run: Callable[[Work], Any]) -> Work:
        """A piece of work as it stands; what went wrong is told, and tried again next time."""
        work = queue.get(key, run, WAITING)
        if work.problem is not None:
            queue.forget(key)
            if isinstance(work.problem, CancelledError):
                raise MissingError("this was stopped: ask again")
            raise work.problem
        return work

    def close(self) -> None:
        """Begin nothing more, and end what runs at its next step."""
        for queue in (self.background, self.slowly, self.opener):
            queue.stop()
