"""The application: which URL is answered by what. The contract in words is docs/viewer.md."""

from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from lacewing.errors import ArtifactError, DataError, LacewingError, MismatchError
from lacewing.pages.guard import Shape, plain
from lacewing.progress import printable
from lacewing.viewer import across, answers, attention, files, notes, replies
from lacewing.viewer import exports as exporting
from lacewing.viewer.jobs import TooManyError
from lacewing.viewer.opening import Opening
from lacewing.viewer.replies import Member
from lacewing.viewer.state import MissingError, Viewer, check_source
from lacewing.viewer.tracing import Tracing
from lacewing.viewer.turns import BusyError

Id = Annotated[str, Query(max_length=200)]
Head = Annotated[str, Query(pattern=r"^\d{1,4}\.\d{1,4}$")]
Pair = Annotated[int, Query(ge=0, le=10**6)]


def application(viewer: Viewer, static: Path) -> FastAPI:
    """The routes over a viewer, and the page's files."""
    tracing = Tracing(viewer)
    opening = Opening(viewer, tracing)

    @asynccontextmanager
    async def lifespan(app: FastAPI):  # type: ignore[no-untyped-def]
        yield
        viewer.close()
        tracing.close()
        opening.close()

    app = FastAPI(
        title="lacewing",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    errors(app)
    _reading(app, viewer)
    _text(app, viewer)
    _asking(app, viewer)
    _tracing(app, tracing)
    _opening(app, opening)
    _writing(app, viewer)
    _jobs(app, viewer)
    files.serve(app, static)
    return app


def ready(body: bytes) -> Response:
    """Finished JSON."""
    return Response(body, media_type="application/json", headers={"cache-control": "no-cache"})


def _reading(app: FastAPI, viewer: Viewer) -> None:
    @app.get("/api/home")
    def get_home() -> Response:
        return ready(replies.home_json(viewer))

    @app.get("/api/circuits/{id}", response_model=answers.CircuitAnswer)
    def get_circuit(id: str) -> Response:
        found = viewer.found(id)
        return ready(
            viewer.answers.get(
                ("circuit", id, found.stamp), lambda: replies.circuit_json(viewer, id)
            )
        )

    @app.get("/api/circuits/{id}/nodes/{node}", response_model=answers.NodeDetail)
    def get_node(id: str, node: str) -> Response:
        found = viewer.found(id)
        key = ("node", id, node, found.stamp)
        return ready(viewer.answers.get(key, lambda: replies.node_json(viewer, id, node)))

    @app.get("/api/circuits/{id}/effects")
    def get_effects(id: str) -> Response:
        return ready(replies.effects_json(viewer, id))

    @app.get("/api/circuits/{id}/notes")
    def get_notes(id: str) -> answers.Notes:
        return notes.read(viewer.found(id).folder)

    @app.get("/api/circuits/{id}/proposal")
    def get_proposal(id: str) -> Response:
        return ready(replies.proposal_json(viewer, id))

    @app.get("/api/compare")
    def get_compare(left: Id, right: Id) -> Response:
        key = ("compare", *((id, viewer.found(id).stamp) for id in (left, right)))
        return ready(viewer.answers.get(key, lambda: replies.compare_json(viewer, left, right)))

    @app.get("/api/frontier")
    def get_frontier() -> Response:
        return ready(replies.frontier_json(viewer))

    @app.get("/api/emergences")
    def get_emergences() -> Response:
        return ready(replies.emergences_json(viewer))

    @app.get("/api/circuits/{id}/export/{name}")
    def get_export(id: str, name: str, pair: Pair = 0, member: Member = "clean") -> Response:
        return export_file(viewer, id, name, pair, member)


def export_file(viewer: Viewer, id: str, name: str, pair: int, member: Member) -> Response:
    """One of the files a circuit can be saved as."""
    found = viewer.found(id)
    if name not in exporting.KINDS:
        raise MissingError(f"there is no such export; there are {', '.join(exporting.KINDS)}")
    key = ("export", id, name, pair, member, found.stamp)
    body = viewer.answers.get(key, lambda: exporting.make(viewer.session(id), name, pair, member))
    headers = {"content-disposition": f'attachment; filename="{id}.{name}"'}
    return Response(body, media_type=exporting.KINDS[name], headers=headers)


def _text(app: FastAPI, viewer: Viewer) -> None:
    @app.get("/api/circuits/{id}/activations/{node}")
    def get_activations(id: str, node: str, text: Literal["task", "natural"] = "task") -> Response:
        return ready(replies.activations_json(viewer, id, node, text))

    @app.get("/api/circuits/{id}/attention")
    def get_attention(id: str, head: Head, pair: Pair = 0, member: Member = "clean") -> Response:
        key = ("attention", id, head, pair, member, viewer.found(id).core)
        return ready(
            viewer.answers.get(key, lambda: replies.attention_json(viewer, id, head, pair, member))
        )

    @app.post("/api/circuits/{id}/attention")
    def post_attention(id: str, typed: answers.TypedHead) -> Response:
        session = viewer.session(id)
        tokens, _ = session.encode(typed.text)
        return ready(replies.encoded(attention.patterns(session, typed.head, tokens, None)))


def _asking(app: FastAPI, viewer: Viewer) -> None:
    @app.get("/api/circuits/{id}/prompts")
    def get_prompts(id: str) -> Response:
        return ready(replies.prompts_json(viewer, id))

    @app.get("/api/circuits/{id}/prompts/{index}", response_model=answers.Answered)
    def get_prompt(id: str, index: int, member: Member = "clean") -> Response:
        key = ("prompt", id, index, member, viewer.found(id).core)
        return ready(
            viewer.answers.get(key, lambda: replies.prompt_json(viewer, id, index, member))
        )

    @app.get("/api/circuits/{id}/bridges")
    def get_bridges(id: str) -> Response:
        return ready(replies.encoded(across.listed(viewer, id)))

    @app.get("/api/circuits/{id}/bridges/{bridge}/{node}")
    def get_steered(id: str, bridge: str, node: str) -> Response:
        return ready(replies.encoded(across.steered(viewer, id, bridge, node)))

    @app.post("/api/circuits/{id}/try")
    def post_try(id: str, typed: answers.Typed) -> answers.Answered:
        return viewer.session(id).answer_text(typed.text)

    @app.post("/api/circuits/{id}/ask")
    def post_ask(id: str, ask: answers.Ask) -> answers.Asked:
        return viewer.session(id).ask(ask)


def _tracing(app: FastAPI, tracing: Tracing) -> None:
    @app.get("/api/traceable")
    def get_traceable() -> Response:
        return ready(replies.encoded(tracing.listed()))

    @app.post("/api/models/{id}/trace")
    def post_trace(id: str, asked: answers.AskTrace) -> Response:
        return ready(replies.encoded(tracing.trace(id, asked)))

    @app.post("/api/models/{id}/trace/graph")
    def post_trace_graph(id: str, asked: answers.AskTrace) -> Response:
        return ready(replies.encoded(tracing.graph(id, asked)))

    @app.post("/api/models/{id}/trace/cancel")
    def post_trace_cancel(id: str, asked: answers.AskTrace) -> Response:
        return ready(replies.encoded(tracing.cancel(id, asked)))

    @app.post("/api/models/{id}/switched")
    def post_switched(id: str, asked: answers.AskSwitched) -> Response:
        return ready(replies.encoded(tracing.switched(id, asked)))

    @app.post("/api/models/{id}/near")
    def post_near(id: str, asked: answers.AskNear) -> Response:
        return ready(replies.encoded(tracing.near(id, asked)))

    @app.get("/api/models/{id}/texts/{node}")
    def get_node_texts(id: str, node: str) -> Response:
        return ready(replies.encoded(tracing.texts(id, node)))


def _opening(app: FastAPI, opening: Opening) -> None:
    @app.get("/api/groups/{id}")
    def get_groups(id: str) -> Response:
        return ready(replies.encoded(opening.overview(id)))

    @app.get("/api/groups/{id}/nodes")
    def get_group_nodes(id: str, group: Id, start: Pair = 0) -> Response:
        return ready(replies.encoded(opening.nodes(id, group, start)))

    @app.get("/api/groups/{id}/activations/{node}")
    def get_group_activations(
        id: str, node: str, text: Literal["task", "natural"] = "task"
    ) -> Response:
        return ready(replies.encoded(opening.activations(id, node, text)))

    @app.post("/api/groups/{id}/ask")
    def post_groups(id: str, asked: answers.AskGroups) -> Response:
        return ready(replies.encoded(opening.ask(id, asked)))

    @app.post("/api/groups/{id}/stop")
    def post_stop(id: str, asked: answers.AskGroups) -> Response:
        return ready(replies.encoded(opening.stop(id, asked)))


def _writing(app: FastAPI, viewer: Viewer) -> None:
    @app.post("/api/circuits/{id}/save", status_code=201)
    def post_save(id: str, save: answers.Save) -> dict[str, str]:
        session = viewer.session(id)
        circuit = session.measured_circuit(save.edits, save.ablation)
        place = viewer.library.place_for(save.name, session.found.folder)
        circuit.save(place)
        viewer.library.changed()
        every = viewer.library.contents().circuits.values()
        made = next((f.id for f in every if f.folder == place), None)
        if made is None:
            raise MissingError(f"{save.name!r} was saved, and is gone again or out of sight")
        return {"id": made, "name": save.name}

    @app.put("/api/circuits/{id}/annotations/{note}")
    def put_annotation(
        id: str, note: answers.NoteId, new: answers.NewAnnotation
    ) -> answers.Annotation:
        return _noted(
            viewer, notes.put(_writable(viewer, id), "annotations", note, new.model_dump())
        )

    @app.put("/api/circuits/{id}/supernodes/{note}")
    def put_supernode(
        id: str, note: answers.NoteId, new: answers.NewSupernode
    ) -> answers.Supernode:
        return _noted(
            viewer, notes.put(_writable(viewer, id), "supernodes", note, new.model_dump())
        )

    @app.delete("/api/circuits/{id}/annotations/{note}")
    def delete_annotation(id: str, note: answers.NoteId) -> dict[str, str]:
        _noted(viewer, notes.drop(_writable(viewer, id), "annotations", note))
        return {}

    @app.delete("/api/circuits/{id}/supernodes/{note}")
    def delete_supernode(id: str, note: answers.NoteId) -> dict[str, str]:
        _noted(viewer, notes.drop(_writable(viewer, id), "supernodes", note))
        return {}


def _writable(viewer: Viewer, id: str) -> Path:
    """The folder of a circuit that people may write beside."""
    found = viewer.found(id)
    found.check_writable()
    return found.folder


def _noted(viewer: Viewer, written: Any) -> Any:
    viewer.library.changed()
    return written


def _jobs(app: FastAPI, viewer: Viewer) -> None:
    @app.post("/api/circuits/{id}/verify", status_code=202)
    def post_verify(id: str, tests: answers.Tests) -> answers.Job:
        session = viewer.session(id)
        session.found.check_writable()
        command = ["verify", "--circuit", str(session.found.folder), "--json"]
        assert session.found.run is not None  # else there would be no session
        command += ["--model", check_source(session.found.run), *([] if tests.all else ["--quick"])]
        return viewer.jobs.add("verify", id, command, lambda result: viewer.library.changed())

    @app.post("/api/models/{id}/tasks", status_code=202)
    def post_tasks(id: str, nothing: answers.Nothing) -> answers.Job:
        run = viewer.run(id)

        def keep(result: dict[str, Any]) -> None:
            viewer.measured[id] = list(result["tasks"])

        return viewer.jobs.add("tasks", id, ["tasks", "--run", run.source, "--json"], keep)

    @app.get("/api/jobs")
    def get_jobs() -> dict[str, list[answers.Job]]:
        return {"jobs": viewer.jobs.all()}

    @app.get("/api/jobs/{id}")
    def get_job(id: str) -> answers.Job:
        return _there(viewer.jobs.get(id))

    @app.post("/api/jobs/{id}/cancel")
    def post_cancel(id: str, nothing: answers.Nothing) -> answers.Job:
        return _there(viewer.jobs.cancel(id))


def _there(job: answers.Job | None) -> answers.Job:
    if job is None:
        raise MissingError("there is no such job")
    return job


def error(status: int, kind: str, message: str, shape: Shape = plain) -> JSONResponse:
    """An error as every route tells it."""
    line = printable(" ".join(message.split())[:1000])
    return JSONResponse(shape(status, kind, line), status)


STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (MissingError, 404, "not_found"),
    (MismatchError, 409, "mismatch"),
    (DataError, 422, "unprocessable"),
    (ArtifactError, 409, "conflict"),
    (LacewingError, 422, "unprocessable"),
    (BusyError, 503, "busy"),
    (TooManyError, 429, "too_many"),
)
INTERNAL = "something went wrong in the server: see its terminal"
KINDS = {404: "not_found", 405: "bad_request", 413: "too_large"}


def errors(app: FastAPI, shape: Shape = plain) -> None:
    """Every failure is one line of JSON; what was not foreseen says nothing of our insides."""

    def known(status: int, kind: str) -> Callable[[Request, Exception], Response]:
        return lambda request, problem: error(status, kind, str(problem), shape)

    for raised, status, kind in STATUS:
        app.add_exception_handler(raised, known(status, kind))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, problem: RequestValidationError) -> Response:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return error(422, "unprocessable", f"{where[:80]}: {first['msg']}", shape)

    @app.exception_handler(HTTPException)
    def refused(request: Request, problem: HTTPException) -> Response:
        kind = KINDS.get(problem.status_code, "bad_request")
        return error(problem.status_code, kind, str(problem.detail), shape)

    @app.exception_handler(Exception)
    def unforeseen(request: Request, problem: Exception) -> Response:
        return error(500, "internal", INTERNAL, shape)
