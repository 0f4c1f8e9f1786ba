"""What the server holds in memory: opened models and circuits, and answers already made."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from lacewing import artifacts
from lacewing.bridges import folder as bridges
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.folder import source_in
from lacewing.errors import LacewingError, MismatchError
from lacewing.model.registry import HUGGING_FACE, SPLICED, prefix_of
from lacewing.model.store import Model, load
from lacewing.sae import folder as autoencoders
from lacewing.sae.splice import spliced
from lacewing.tasks.batch import encode
from lacewing.viewer import sample
from lacewing.viewer.folder import Library, autoencoders_of, shown
from lacewing.viewer.jobs import Jobs
from lacewing.viewer.session import Session
from lacewing.viewer.texts import NATURAL, Sequences, of_documents
from lacewing.viewer.things import Across, Found, Run
from lacewing.viewer.turns import Background, Turns, Work

MODELS, SESSIONS, COUPLINGS = 4, 12, 2
"""How many are kept open; the longest unused makes room."""
LATENT_PAIRS = 64
"""Test pairs, the first ones, that questions about latents are asked of: thousands of latents are
computed at every token of every answer."""
CACHED = 64 * 2**20
"""Bytes of answers kept."""


class MissingError(LacewingError):
    """An id that stands for nothing."""


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Latest(Generic[Key, Value]):
    """The values used last, made when they are first asked for, one at a time."""

    def __init__(self, count: int) -> None:
        """Keep so many."""
        self.count = count
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock, self._making = threading.Lock(), threading.RLock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key; one that is there is had while another is being made."""
        if (found := self._there(key)) is not None:
            return found[0]
        with self._making:
            if (found := self._there(key)) is not None:
                return found[0]
            value = make()
            with self._lock:
                self._values[key] = value
                while len(self._values) > self.count:
                    self._values.popitem(last=False)
            return value

    def _there(self, key: Key) -> tuple[Value] | None:
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return (self._values[key],)


class Answers:
    """Finished answers, up to a number of bytes."""

    def __init__(self, most: int = CACHED) -> None:
        """Keep up to `most` bytes."""
        self.most, self._size = most, 0
        self._bytes: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The answer of a key; two that ask at once may both make it."""
        with self._lock:
            if key in self._bytes:
                self._bytes.move_to_end(key)
                return self._bytes[key]
        made = make()
        with self._lock:
            if key not in self._bytes and len(made) <= self.most:
                self._bytes[key] = made
                self._size += len(made)
            while self._size > self.most:
                self._size -= len(self._bytes.popitem(last=False)[1])
        return made


class Viewer:
    """Everything the routes use."""

    def __init__(self, root: Path, corpus: str | None = None, models: Sequence[str] = ()) -> None:
        """Open a folder.

        Args:
            root: The served folder.
            corpus: Natural text for all models; by default each model's own corpus, where that is
                part of this Python or lies in the served folder.
            models: Further models to trace, such as `hf:FOLDER`.
        """
        self.library, self.corpus, self.models = Library(root), corpus, tuple(models)
        self.turns, self.background, self.jobs = Turns(), Background(), Jobs()
        self.slowly = Background()
        """For effects, hundreds of runs, which a look at one node's text need not wait for."""
        self.asked = Background()
        """For curves across bridges, which somebody waits for, and effects need not be ready."""
        self.answers = Answers()
        self.rows: Latest[Hashable, dict[str, Any]] = Latest(2000)
        """Circuits as rows of a table."""
        self.measured: dict[str, list[dict[str, Any]]] = {}
        """Task scores by model id, measured since the start."""
        self._models: Latest[str, Model] = Latest(MODELS)
        self._sessions: Latest[tuple[str, int], Session] = Latest(SESSIONS)
        self._couplings: Latest[tuple[str, int], bridges.Coupling] = Latest(COUPLINGS)

    def found(self, id: str) -> Found:
        """A circuit by its id.

        Raises:
            MissingError: there is none.
        """
        contents = self.library.contents()
        found = contents.circuits.get(id) or contents.shipped.get(id)
        if found is None:
            raise MissingError("there is no such circuit (any more)")
        return found

    def run(self, id: str) -> Run:
        """A model by its id.

        Raises:
            MissingError: there is none.
        """
        run = self.library.contents().runs.get(id)
        if run is None:
            raise MissingError("there is no such model (any more)")
        return run

    def session(self, id: str) -> Session:
        """An opened circuit.

        Raises:
            MissingError: there is none.
            LacewingError: it, or its model, cannot be read.
        """
        found = self.found(id)
        return self._sessions.get((found.id, found.core), lambda: self._open(found))

    def model(self, run: Run) -> Model:
        """A loaded model; with latents for nodes, over the model under them as it is served.

        Raises:
            LacewingError: it, or its autoencoders, cannot be read or do not belong together.
        """
        if run.under is None:
            return self._models.get(run.model_id, lambda: load(run.source))
        below, folder = self.model(run.under), Path(run.source.removeprefix(SPLICED))
        return self._models.get(
            f"{run.source} {run.stamp}",
            lambda: spliced(below, autoencoders.read(folder, below), run.source),
        )

    def coupling(self, one: Across) -> bridges.Coupling:
        """Opened bridges, with the served models.

        Raises:
            MismatchError: one of their models is not among those.
        """
        dense, sparse = one.dense, one.sparse
        if dense is None or sparse is None:
            raise MismatchError(f"a model of the bridges in {one.name} is not served")
        return self._couplings.get(
            (one.id, one.stamp), lambda: bridges.read(one.folder, dense.source, sparse.source)
        )

    def natural(self, session: Session) -> Work:
        """Natural text of a model's corpus, read in the background."""

        def read(work: Work) -> Sequences:
            spec = self.corpus or session.model.corpus
            if self.corpus is None:
                sample.check(spec, self.library.root)
            return of_documents(session.model, sample.read(spec, NATURAL))

        return self.background.get(("natural", session.model.id), read)

    def close(self) -> None:
        """Stop background work and jobs."""
        self.turns.close()
        self.jobs.stop()
        self.background.stop()
        self.slowly.stop()
        self.asked.stop()

    def _open(self, found: Found) -> Session:
        if found.run is None:
            raise MismatchError(no_model(self, found))
        model = self.model(found.run)
        circuit = Circuit.load(found.folder)
        circuit.check(model)
        pairs = circuit.pairs if found.run.under is None else circuit.pairs[:LATENT_PAIRS]
        prompts = encode(pairs, model.tokenizer, model.network.config.context)
        session = Session(found, model, circuit, prompts, self.turns)
        self.background.get(("warm", found.id, found.core), lambda work: session.warm())
        return session


def open_source(viewer: Viewer, found: Found) -> str | None:
    """The `hf:` model of a circuit, or that under its latents, where the page may load it.

    It may if it was named when the viewer was started, or lies in the served folder: what a
    circuit's file says alone opens no folder elsewhere.
    """
    said = str(found.facts.get("model_source"))
    if found.latents is None:
        return _allowed(viewer, found.folder, said)
    return _allowed(viewer, found.latents.folder, found.latents.facts.model_source)


def _allowed(viewer: Viewer, folder: Path, said: str) -> str | None:
    """An `hf:` model that a folder names, where the page may load it."""
    if prefix_of(said) != HUGGING_FACE:
        return None
    try:
        source = source_in(folder, said)
    except (LacewingError, ValueError, OSError):
        return None
    if named := [one for one in viewer.models if _same_place(one, source)]:
        return named[0]
    place = Path(source.removeprefix(HUGGING_FACE))
    inside = place.is_absolute() and artifacts.real(place).is_relative_to(viewer.library.root)
    return source if inside and (place / "config.json").is_file() else None


def _same_place(named: str, source: str) -> bool:
    if named == source:
        return True
    one, other = (Path(text.removeprefix(HUGGING_FACE)) for text in (named, source))
    ours = prefix_of(named) == HUGGING_FACE and one.is_dir() and other.is_dir()
    return ours and artifacts.real(one) == artifacts.real(other)


def check_source(run: Run) -> str:
    """Where a process of its own loads a model: latents are loaded with the model that they name.

    Raises:
        MismatchError: that is another place than the served one, which nobody named.
    """
    if run.under is not None:
        folder = Path(run.source.removeprefix(SPLICED))
        named, served = (
            autoencoders.source_of(folder, autoencoders.facts_of(folder)),
            run.under.source,
        )
        if named != served and artifacts.real(named) != artifacts.real(served):
            raise MismatchError(
                f"the autoencoders in {folder.name} name their model at {named[:200]}, which is "
                f"not the served {run.under.name}: run lacewing verify in a terminal"
            )
    return run.source


def no_model(viewer: Viewer, found: Found) -> str:
    """Why a circuit is not drawn."""
    said = str(found.facts.get("model_source"))
    prefix = prefix_of(said)
    if open_source(viewer, found):
        return (
            "a circuit of an hf: model is shown in groups, not drawn: open it from the first page"
        )
    if prefix == SPLICED:
        return _no_latents(viewer, found, said)
    if prefix == HUGGING_FACE:
        return (
            f"its model {said[:200]} is not served: start `lacewing view --model hf:FOLDER`, with "
            "the folder it was found in, or --run at a folder that holds both"
        )
    if prefix:
        return (
            f"circuits of {prefix} models are not drawn: the page needs weights that are mostly "
            "zero; see its nodes with Circuit.load(...).to_frame(), test it with lacewing verify"
        )
    return (
        f"its model {found.facts.get('model_id')} ({found.facts.get('model_source')}) is not "
        "under the served folder: start `lacewing view --run` at a folder that holds both"
    )


def _no_latents(viewer: Viewer, found: Found, said: str) -> str:
    """Why a circuit of latents is not drawn; of what lies elsewhere nothing is told."""
    if found.latents is not None:
        below = found.latents.facts
        return (
            f"the model of its latents, {below.model_id} ({below.model_source[:200]}), is not "
            "served: start `lacewing view --run` at a folder that holds both"
            + (", or --model hf:FOLDER" if prefix_of(below.model_source) == HUGGING_FACE else "")
        )
    try:
        place = artifacts.real(autoencoders_of(found.folder, found.facts) or said)
        inside = place.is_relative_to(viewer.library.root)
        why = "they cannot be read" if inside and place.is_dir() else "there is no such folder"
    except (LacewingError, ValueError, OSError):
        inside = False
    if inside:
        where = shown(viewer.library.root, place)
        return (
            f"its autoencoders in {where[:200]} are missing ({why}): put them back, or prune again"
        )
    return (
        f"its autoencoders, {said[:200]}, are not under the served folder: start `lacewing view "
        "--run` at a folder that holds both"
    )
