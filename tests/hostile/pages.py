"""The viewer's application as its process has it: requests through the guard, and what comes back.

Nothing listens: a request is given to the application as uvicorn gives it.
"""

import asyncio
import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from hostile.asked import PORT
from hostile.figures import steady
from hostile.judge import cli
from hostile.seen import say
from hostile.values import text

CIRCUIT = "gpt2.circuit"
WAITS = ("computing", "opening")
"""States of an answer that is not ready; asked again, it goes on."""
TURNS, FEW, PAUSE = 1000, 40, 0.02
"""How often a request is asked again, where its figures count and where not; seconds between."""


@dataclass(frozen=True)
class Asked:
    """One request, its parts as values that may be anything."""

    method: str
    path: tuple[Any, ...]
    query: dict[str, Any]
    body: Any = None

    @property
    def target(self) -> bytes:
        """The path and query as they stand in the first line."""
        path = "/".join(quote(_text(part), safe="") for part in self.path)
        query = {_text(k): _text(v) for k, v in self.query.items()}
        return f"/{path}?{urlencode(query)}".encode()


def _text(value: Any) -> str:
    plain = value if isinstance(value, str) else text(value)
    return plain.encode("utf-8", "replace").decode()[:60_000]  # of which uvicorn refuses more


def get(*path: str, **query: Any) -> Asked:
    """A request to read something."""
    return Asked("GET", path, query)


def post(*path: str, body: Any) -> Asked:
    """A request that asks something."""
    return Asked("POST", path, {}, body)


def told(requests: Sequence[Asked], app: Any, turns: int = TURNS) -> Any:
    """The figures of the answers, in order; the first refusal is told as a verb tells it.

    Args:
        requests: One after the other.
        app: Answers them.
        turns: How often each may be asked again while it is worked on.
    """
    return [steady(_answer(app, one, turns)) for one in requests]


def _answer(app: Any, one: Asked, turns: int) -> Any:
    """What comes back in the end, for work is asked about until it is done."""
    for turn in range(turns):
        status, kind, body = asyncio.run(_sent(app, one))
        found = json.loads(body) if kind == "application/json" else None
        if (status == 503 or _waits(found)) and turn < turns - 1:
            time.sleep(PAUSE)
            continue
        if status < 400:
            return [status, kind, body.decode("utf-8", "replace")] if found is None else found
        assert status < 500 or status == 503, body
        assert found is not None
        line = found["error"]["message"]
        assert "\n" not in line, body
        raise SystemExit(say(f"{status} {line}"))
    raise AssertionError("nothing was asked")


def _waits(found: Any) -> bool:
    """Whether an answer, or what it needs, is still being worked on."""
    if not isinstance(found, dict):
        return False
    inner = found.get("strengths")
    return found.get("state") in WAITS or (isinstance(inner, dict) and _waits(inner))


async def _sent(app: Any, one: Asked) -> tuple[int, str, bytes]:
    """One answer: its status, its kind and its body."""
    path, _, query = one.target.partition(b"?")
    body = b"" if one.body is None else text(one.body).encode("utf-8", "surrogatepass")
    headers = [(b"host", f"127.0.0.1:{PORT}".encode()), (b"content-type", b"application/json")]
    headers.append((b"content-length", str(len(body)).encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": one.method,
        "scheme": "http",
        "path": unquote(path.decode()),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", PORT),
    }
    given, parts = [{"type": "http.request", "body": body, "more_body": False}], list[Any]()

    async def receive() -> dict[str, Any]:
        return given.pop() if given else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        parts.append(message)

    await app(scope, receive, send)
    found = dict(parts[0]["headers"])
    kind = found.get(b"content-type", b"").decode().partition(";")[0]
    return parts[0]["status"], kind, b"".join(part.get("body", b"") for part in parts[1:])


def viewer(folder: str = ".") -> Any:
    """The viewer's application over a folder of the case, and a model it is told of."""
    from lacewing.pages.guard import Guard
    from lacewing.viewer.serve import STATIC
    from lacewing.viewer.server import application
    from lacewing.viewer.state import Viewer

    served = Viewer(Path(folder), models=("hf:gpt2",))
    return Guard(application(served, STATIC), "127.0.0.1", PORT, None)


OFF = {"off": "0.mlp_neuron"}
GROUPS: tuple[Asked, ...] = (
    get("api", "groups", CIRCUIT),
    get("api", "groups", CIRCUIT, "nodes", group="0.mlp_neuron", start=0),
    get("api", "groups", CIRCUIT, "activations", "0.mlp_neuron.3", text="task"),
    post("api", "groups", CIRCUIT, "ask", body={"edits": [OFF], "pair": 1, "member": "clean"}),
)


def grouped(work: Path) -> Any:
    """What the page of groups is told of the circuit of an open model."""
    return told(GROUPS, viewer())


def sides(work: Path, root: Path) -> Any:
    """What a comparison of all forms would measure: the folders it is given are read."""
    words = ["compare", "--sparse", root / "run", "--dense", root / "dense", "--minutes", "0"]
    words += ["--sae", "dense.saes", "--bridge", "bridges", "--task", root / "letters.jsonl"]
    found = cli(*words, "--corpus", root / "lines", "--quick", "--output", "new")
    return [[cell["form"], cell["state"]] for cell in found["cells"]]


def dense_saes(root: Path, place: Path) -> None:
    """Autoencoders of the dense micro model."""
    from hostile.material import say as quietly
    from hostile.strangers import LATENTS

    words = ["--model", str(root / "dense"), "--site", "0.mlp_out", "--corpus", str(root / "lines")]
    quietly(["sae", *words, *LATENTS, "--output", str(place)])


LATENT, NODE = "saes.circuit", "0.mlp_out.3"
DRAWN: tuple[Asked, ...] = (
    get("api", "circuits", LATENT),
    get("api", "circuits", LATENT, "nodes", NODE),
    get("api", "circuits", LATENT, "activations", NODE, text="task"),
    post("api", "circuits", LATENT, "ask", body={"edits": [{"off": NODE}], "pair": 1}),
)


def drawn(work: Path) -> Any:
    """What the page is told of a circuit of latents, and of one of them switched off."""
    *seen, asked = told(DRAWN, viewer())
    return [*seen, asked | {"milliseconds": 0.0}]  # how long it took is another in every run


def of_latents(root: Path, place: Path) -> None:
    """A circuit of some latents of the micro model, and of a channel that they miss."""
    import micro
    from lacewing.circuit.config import PruneConfig
    from lacewing.model.store import load

    model = load(f"sae:{root / 'saes'}")
    kept = {key: list(range(min(6, len(mean)))) for key, mean in model.means.items()}
    kept["0.mlp_out"].append(len(model.means["0.mlp_out"]) - 1)
    test = micro.prompts(8, 7, model.tokenizer)
    micro.make(
        model,
        kept,
        answers=tuple(sorted(set(test.answer.tolist()))),
        config=PruneConfig(target_loss=micro.TARGET),
        losses={"full": 0.01, "circuit": 0.02},
        pairs=test.pairs,
    ).save(place)


MAKERS: dict[str, Callable[[Path, Path], None]] = {"dense.saes": dense_saes, LATENT: of_latents}


def formats(root: Path) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], Any, tuple[str, ...]]]:
    """Needs, files, what reads them, and which of them no sum covers."""
    beside = (f"{CIRCUIT}/verification.json", "gpt2/lacewing.json")  # people name their models
    files = (*(f"{CIRCUIT}/{name}" for name in ("manifest.json", "circuit.json", "nodes*")),)
    files += (f"{CIRCUIT}/pairs*", "gpt2/*", beside[0])
    both = ("dense.saes/**", "bridges/*")
    read = functools.partial(sides, root=root)
    latents = ("saes/**", f"{LATENT}/manifest.json", f"{LATENT}/circuit.json")
    latents += (f"{LATENT}/nodes*", f"{LATENT}/pairs*")
    return {
        "drawn": (("saes", "run", LATENT), latents, drawn, ()),
        "grouped": (("gpt2", CIRCUIT, "text"), files, grouped, beside),
        "sides": (("dense.saes", "bridges", "run", "dense"), both, read, ()),
    }
