"""A read-only copy of the page with the answers it needs, for a static host or a disk.

index.html, static/      the page, its modules as one script (see `bundle`)
data.js                  small answers, and where the large ones are
data/N.js                one large answer each, read when it is asked for
export/CIRCUIT.NAME      the files of a circuit
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.errors import ArtifactError, LacewingError
from lacewing.model.sites import has_latents
from lacewing.model.store import same_model
from lacewing.pages.guard import POLICY
from lacewing.progress import progress, say
from lacewing.viewer import exports, replies
from lacewing.viewer.bundle import bundle
from lacewing.viewer.files import index, names
from lacewing.viewer.folder import reason
from lacewing.viewer.serve import static_folder
from lacewing.viewer.state import Viewer

KIND = "page"
PAIRS = 8
"""Test pairs whose answers and attention are in the copy."""
MOST_NODES = 400
"""Nodes of a circuit whose details are in the copy, the first; the rest of a dense one is not."""
SMALL = 4000
"""Bytes up to which an answer stands in data.js."""
MODULE = re.compile(r'<script type="module" src="static/([^"]+)"></script>')
SECONDS = 600.0


def export(root: Path, output: Path, corpus: str | None = None) -> dict[str, Any]:
    """Write the copy.

    Args:
        root: The folder whose circuits are shown.
        output: Where to; must not exist, or hold an older copy.
        corpus: Natural text, where the models' own should not be used.

    Raises:
        ArtifactError: there is nothing at `root`, or something else at `output`.
    """
    files = page_files(static_folder())
    viewer = Viewer(root, corpus)
    try:
        if not viewer.library.contents().circuits:
            raise ArtifactError(f"there is no circuit under {root}: nothing to show in a copy")
        answers, more = _gather(viewer)
        files |= more
    finally:
        viewer.close()
    small: dict[str, str] = {}
    large: dict[str, str] = {}
    for url, body in answers.items():
        if len(body) <= SMALL:
            small[url] = body.decode()
        else:
            name = large[url] = f"data/{len(large)}.js"
            files[name] = f"LACEWING.answers[{_script(url)}] = {_inert(body.decode())};\n".encode()
    listed = ",\n".join(f"{_script(url)}: {_inert(text)}" for url, text in small.items())
    kept = sorted(name.removeprefix("export/") for name in files if name.startswith("export/"))
    head = f"readOnly: true, exports: {_script(kept)}, files: {_script(large)}"
    data = f"{{ {head}, answers: {{\n{listed}\n}} }}"
    files["data.js"] = f"globalThis.LACEWING = {data};\n".encode()
    artifacts.write_folder(output, KIND, files=files, replace=True)
    size = sum(map(len, files.values()))
    return {"page": str(output / "index.html"), "answers": len(answers), "bytes": size}


def page_files(static: Path) -> dict[str, bytes]:
    """The page's own files with its modules bundled, by their path in the copy."""
    text = index(static)
    found = MODULE.search(text)
    if not found:
        raise ArtifactError(f"{static / 'index.html'} loads no module: this page cannot be copied")
    pages = names(static)
    modules = {n: p.read_text(encoding="utf-8") for n, p in pages.items() if n.endswith(".js")}
    # frame-ancestors means nothing in a meta element, and a browser says so on its console.
    policy = POLICY.partition("; frame-ancestors")[0]
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    scripts = '<script src="data.js"></script>\n<script defer src="static/page.js"></script>'
    text = text.replace(found[0], scripts).replace("<head>", f"<head>\n{meta}", 1)
    files = {
        f"static/{name}": path.read_bytes()
        for name, path in pages.items()
        if not name.endswith(".html")
        and name != "watch.css"
        and (not name.endswith(".js") or name.startswith("vendor/"))
    }
    files["static/page.js"] = bundle(modules, found[1]).encode()
    files["index.html"] = text.encode()
    return files


def _gather(viewer: Viewer) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Every answer by its URL, and the exported files."""
    answers: dict[str, bytes] = {}
    files: dict[str, bytes] = {}
    circuits = [f.id for f in viewer.library.contents().circuits.values() if opens(viewer, f.id)]
    urls = [(id, url) for id in circuits for url in _urls(viewer, id)]
    with progress("export", len(urls), "answers") as bar:
        for done, (id, url) in enumerate(urls):
            body = _answer(viewer, id, url)
            if body is not None:
                answers[url] = body
            bar.update(done + 1, id)
    for id in circuits:
        for name in exports.KINDS:
            try:
                files[f"export/{id}.{name}"] = exports.make(viewer.session(id), name, 0, "clean")
            except LacewingError:
                continue  # a graph too large for its readers
    for left in circuits:
        for right in circuits:
            if left != right and _related(viewer, left, right):
                url = f"api/compare?left={left}&right={right}"
                answers[url] = replies.compare_json(viewer, left, right)
    answers["api/frontier"] = replies.frontier_json(viewer)
    answers["api/emergences"] = replies.emergences_json(viewer)
    answers["api/home"] = replies.home_json(viewer, writable=False)
    return answers, files


def opens(viewer: Viewer, id: str) -> bool:
    """Whether a circuit can be shown; one that cannot is a row of the first page, and no more."""
    try:
        viewer.session(id)
    except Exception as error:
        say(f"left out: {id}: {reason(error)}")
        return False
    return True


def _related(viewer: Viewer, left: str, right: str) -> bool:
    a, b = viewer.found(left), viewer.found(right)
    same = same_model(a.facts["model_id"], b.facts["model_id"])
    return same or a.facts["task"] == b.facts["task"]


def _urls(viewer: Viewer, id: str) -> Iterator[str]:
    """The URLs of one circuit, as the page asks for them."""
    session, base = viewer.session(id), f"api/circuits/{id}"
    yield from (base, f"{base}/effects", f"{base}/notes", f"{base}/proposal", f"{base}/prompts")
    size = session.model.network.config.d_head
    heads = {
        f"{key.partition('.')[0]}.{channel // size}"
        for key, kept in (
            () if has_latents(session.model.network.config) else session.circuit.nodes.items()
        )
        if key.endswith(("attn_q", "attn_k", "attn_v"))
        for channel in kept.tolist()
    }
    for pair in range(min(PAIRS, len(session.prompts))):
        for member in ("clean", "corrupted"):
            yield f"{base}/prompts/{pair}?member={member}"
            for head in sorted(heads):
                yield f"{base}/attention?head={head}&pair={pair}&member={member}"
    for node in session.circuit.node_names()[:MOST_NODES]:
        yield f"{base}/nodes/{node}"
        for text in ("task", "natural"):
            yield f"{base}/activations/{node}?text={text}"


def _answer(viewer: Viewer, id: str, url: str) -> bytes | None:
    """What the server would say, waited for; None where it has no answer."""
    path, _, query = url.partition("?")
    words = path.split("/")[3:]
    given = dict(part.split("=") for part in query.split("&")) if query else {}
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            body = _said(viewer, id, words, given)
        except LacewingError:
            return None
        if b'"state":"computing"' not in body[:300]:
            return body
        time.sleep(0.05)
    return None


def _said(viewer: Viewer, id: str, words: list[str], given: dict[str, str]) -> bytes:
    member: Any = given.get("member", "clean")
    match words:
        case []:
            return replies.circuit_json(viewer, id)
        case ["effects"]:
            return replies.effects_json(viewer, id)
        case ["notes"]:
            return replies.notes_json(viewer, id)
        case ["proposal"]:
            return replies.proposal_json(viewer, id)
        case ["prompts"]:
            return replies.prompts_json(viewer, id)
        case ["prompts", index]:
            return replies.prompt_json(viewer, id, int(index), member)
        case ["attention"]:
            return replies.attention_json(viewer, id, given["head"], int(given["pair"]), member)
        case ["nodes", node]:
            return replies.node_json(viewer, id, node)
        case ["activations", node]:
            return replies.activations_json(viewer, id, node, given["text"])
    raise ArtifactError(f"no such answer: {words}")


def _script(value: object) -> str:
    return _inert(json.dumps(value))


def _inert(text: str) -> str:
    """JSON that is also JavaScript, and ends no script element."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
