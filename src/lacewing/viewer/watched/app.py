"""The application: completions, models, metrics, and what the live page asks for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse

from lacewing.progress import printable
from lacewing.viewer import files
from lacewing.viewer.jobs import TooManyError
from lacewing.viewer.server import errors
from lacewing.viewer.state import MissingError
from lacewing.viewer.turns import BusyError, Turns
from lacewing.viewer.watched.answering import Answering, shape
from lacewing.viewer.watched.asked import Asked, RefusalError
from lacewing.watch.serving import metrics
from lacewing.watch.serving.service import Service

PAGE = "watch.html"
SINCE = Annotated[int, Query(ge=0, le=2**53)]


def application(service: Service, static: Path) -> FastAPI:
    """The routes over a service, and the page's files."""
    turns = Turns()
    answering = Answering(service, turns)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        turns.close()
        try:
            await answering.finish()
        finally:
            service.close()

    app = FastAPI(
        title="lacewing watch",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    errors(app, shape)
    _refusals(app, service)
    _completions(app, answering)
    _watching(app, service)
    files.serve(app, static, PAGE)
    return app


def _refusals(app: FastAPI, service: Service) -> None:
    """What is asked wrongly, in OpenAI's words, and counted."""

    @app.exception_handler(RefusalError)
    async def refused(request: Request, problem: RefusalError) -> Response:
        return _told(service, problem.status, str(problem), problem.param, problem.code)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, problem: RequestValidationError) -> Response:
        param, line = _first(problem)
        return _told(service, 400, line, param)

    @app.exception_handler(TooManyError)
    async def crowded(request: Request, problem: TooManyError) -> Response:
        return _told(service, 429, str(problem), None, "rate_limit_exceeded")

    @app.exception_handler(BusyError)
    async def busy(request: Request, problem: BusyError) -> Response:
        return _told(service, 503, str(problem), None, "busy")


def _told(
    service: Service, status: int, line: str, param: str | None = None, code: str | None = None
) -> Response:
    service.metrics.refused(status)
    said = shape(status, "bad_request", printable(line), param and printable(param), code)
    return JSONResponse(said, status)


def _first(problem: RequestValidationError) -> tuple[str | None, str]:
    """The field that is wrong, and a line about it: of the shapes a prompt may have, one line."""
    found = problem.errors()
    first = found[0]
    parts = [str(part) for part in first["loc"][1:]]
    if first["type"] == "json_invalid":
        return None, "the body is no JSON"
    if not parts:
        return None, "the body has to be a JSON object"
    name = parts[0][:80]
    if first["type"] == "extra_forbidden":
        return name, f"unrecognized request argument: {name}"
    if name == "prompt" and len(found) > 1:
        return name, "prompt has to be a text, a list of texts, or tokens in one list or several"
    if name == "stop" and len(found) > 1:
        return name, "stop has to be a text, or a list of up to 4 texts, none of them empty"
    if first["type"] in ("none_required", "literal_error") or "penalty" in name:
        return name, f"{name} is not supported here: leave it out"
    return name, f"{'.'.join(parts)[:80]}: {first['msg']}"


def _completions(app: FastAPI, answering: Answering) -> None:
    service = answering.service

    @app.post("/v1/completions")
    async def post_completions(asked: Asked, request: Request) -> Response:
        if asked.stream:
            events = await answering.stream(asked, request)
            headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
        answer = await answering.whole(asked, request)
        # Nobody is there to read an empty one.
        return Response(status_code=400) if answer is None else JSONResponse(answer)

    @app.get("/v1/models")
    async def get_models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(service)]}

    @app.get("/v1/models/{name:path}")
    async def get_model(name: str) -> dict[str, Any]:
        if name != service.name:
            raise MissingError(f"there is no model {name[:100]!r} here; there is {service.name}")
        return _model(service)


def _model(service: Service) -> dict[str, Any]:
    config = service.monitor.model.network.config
    told = {"id": service.monitor.model.id, "context": config.context, "tokens": config.vocab_size}
    told |= {"circuits": service.metrics.tasks}
    return {
        "id": service.name,
        "object": "model",
        "created": service.begun,
        "owned_by": "lacewing",
        "lacewing": told,
    }


def _watching(app: FastAPI, service: Service) -> None:
    @app.get("/metrics")
    async def get_metrics() -> Response:
        return Response(service.metrics.page(), headers={"content-type": metrics.KIND})

    @app.get("/api/watch")
    async def get_watch(since: SINCE = 0) -> Response:
        told = service.standing | {
            "groups": service.history.groups,
            "looks_after": service.history.after(since),
            "last_alarms": service.alarms(),
        }
        return JSONResponse(told, headers={"cache-control": "no-cache"})
