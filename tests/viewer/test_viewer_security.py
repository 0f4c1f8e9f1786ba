"""Attacks on a real server: rebinding, other sites, forms, paths, sizes, slow senders, token."""

import hashlib
import shutil
import socket
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from lacewing.pages.guard import LARGEST_BODY, Guard
from lacewing.viewer import connections, serve

NOTE = "/api/circuits/circuits-planted/annotations/attack"
BODY = {"on": "circuit", "text": "written by an attacker"}


def raw(port: int, request: str | bytes, host: str = "127.0.0.1") -> str:
    """Send bytes as they are; the whole answer.

    A server that refuses a body closes the line while the rest of it is on the way: the reset that
    follows the answer is the end of the answer, or the end of what could be sent.
    """
    content = request if isinstance(request, bytes) else request.replace("\n", "\r\n").encode()
    parts = []
    with closing(socket.create_connection((host, port), 20)) as line:
        with suppress(ConnectionError):
            line.sendall(content)
        try:
            while part := line.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            if not parts:
                raise
    return b"".join(parts).decode("latin-1")


def status(answer: str) -> int:
    """The status of a raw answer."""
    return int(answer.split(" ", 2)[1])


def hosts(port: int) -> list[str]:
    """Host headers that are not ours."""
    return [
        "evil.example",
        f"evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
        f"localhost.evil.example:{port}",
        f"127.0.0.1:{port}@evil.example",
        f"evil.example@127.0.0.1:{port}",
        "127.0.0.1:1",
        f"127.0.0.1:{port}/x",
        f"192.168.0.7:{port}",
        "",
        "[",
    ]


def test_rebinding(live: Any) -> None:
    """A request under a name that is not ours is refused, whoever it reached."""
    for host in hosts(live.port):
        answer = raw(live.port, f"GET /api/home HTTP/1.1\nHost: {host}\nConnection: close\n\n")
        assert status(answer) in (400, 403), host
        assert "circuits" not in answer
    for host in (f"127.0.0.1:{live.port}", f"localhost:{live.port}", f"LOCALHOST:{live.port}"):
        answer = raw(live.port, f"GET /api/jobs HTTP/1.1\nHost: {host}\nConnection: close\n\n")
        assert 200 == status(answer), host


def test_host_twice_or_never(live: Any) -> None:
    """Two Host headers, or none, are refused."""
    ours = f"127.0.0.1:{live.port}"
    twice = f"GET /api/home HTTP/1.1\nHost: {ours}\nHost: evil.example\nConnection: close\n\n"
    for request in (twice, "GET /api/home HTTP/1.1\nConnection: close\n\n"):
        assert status(raw(live.port, request)) in (400, 403)
    assert status(raw(live.port, "GET /api/home HTTP/1.0\n\n")) in (400, 403)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "file://"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites(live: Any, headers: dict[str, str]) -> None:
    """A page of another site can neither change nor read anything."""
    with live.client(headers=headers) as client:
        assert 403 == client.put(NOTE, json=BODY).status_code
        assert 403 == client.post("/api/circuits/circuits-planted/try", json={}).status_code
        refused = client.get("/api/home")
    assert 403 == refused.status_code
    assert not [name for name in refused.headers if name.startswith("access-control")]
    with live.client() as client:
        notes = client.get("/api/circuits/circuits-planted/notes").json()
    assert "attack" not in [note["id"] for note in notes["annotations"]]


def test_links_from_elsewhere(live: Any) -> None:
    """A link on another site may open the page, and only the page, in a window of its own."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    window, frame = ({"Sec-Fetch-Dest": d} for d in ("document", "iframe"))
    with live.client() as client:
        assert 200 == client.get("/", headers=link | window).status_code
        assert 403 == client.get("/", headers=link | frame).status_code
        assert 403 == client.get("/api/home", headers=link | window).status_code


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
def test_forms(live: Any, kind: str | None) -> None:
    """What a form or a plain request can send changes nothing."""
    headers = {"Content-Type": kind} if kind else {}
    body = b'{"on": "circuit", "text": "x"}'
    with live.client() as client:
        assert 415 == client.put(NOTE, content=body, headers=headers).status_code


def content(folder: Path) -> dict[str, str]:
    """A hash of every file."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_reading_changes_nothing(folder: Path, here: Any) -> None:
    """No GET writes: after all of them the folder is what it was; changes need other methods."""
    before, base = content(folder), "/api/circuits/circuits-planted"
    with here(folder) as server, server.client() as client:
        for path in (
            *("/", "/api/home", "/api/jobs", "/api/frontier", base, f"{base}/effects"),
            *(f"{base}/notes", f"{base}/proposal", f"{base}/prompts", f"{base}/prompts/0"),
            *(f"{base}/nodes/0.attn_in.1", f"{base}/activations/0.attn_in.1?text=task"),
            *(
                f"{base}/attention?head=0.0",
                f"{base}/export/graph.json",
                f"{base}/export/edges.csv",
            ),
            "/api/compare?left=circuits-planted&right=circuits-path_a",
        ):
            assert 200 == client.get(path).status_code, path
        for path in ("save", "verify", "try", "ask", "annotations/a", "supernodes/a"):
            assert client.get(f"{base}/{path}").status_code in (404, 405), path
    assert before == content(folder)


def test_paths(live: Any) -> None:
    """No URL leads out of the page's files or the folder."""
    ours = f"Host: 127.0.0.1:{live.port}\nConnection: close\n\n"
    for path in (
        "/static/../conftest.py",
        "/static/%2e%2e/conftest.py",
        "/static/..%2f..%2fetc/passwd",
        "/static//etc/passwd",
        "/static/%00",
        "/../../etc/passwd",
        "/api/circuits/..%2f..",
        "/api/circuits/%2fetc%2fpasswd/notes",
        "/api/circuits/../../etc/passwd",
        "/api/circuits/circuits-planted/export/..%2fcircuit.json",
        "/api/circuits/circuits-planted/nodes/..%2f..%2fetc",
    ):
        answer = raw(live.port, f"GET {path} HTTP/1.1\n{ours}")
        assert status(answer) in (400, 404, 405, 422), path
        assert "root:" not in answer


def test_page_files_keep_to_their_folder(
    page: Path, folder: Path, tmp_path: Path, here: Any
) -> None:
    """A link out is not followed, a folder is not listed; an unchanged file is sent once."""
    static = tmp_path / "page"
    shutil.copytree(page, static)
    (tmp_path / "secret.js").write_text("secret")
    (static / "link.js").symlink_to(tmp_path / "secret.js")
    (static / "out").symlink_to(tmp_path)
    with here(folder, static) as server, server.client() as client:
        for path in ("/static/link.js", "/static/out/secret.js", "/static/", "/static/parts"):
            answer = client.get(path)
            assert 404 == answer.status_code, path
            assert {"kind", "message"} == answer.json()["error"].keys()
        for path in ("/", "/static/parts/one.js"):
            first = client.get(path)
            assert (200, "no-cache") == (first.status_code, first.headers["cache-control"])
            again = client.get(path, headers={"if-none-match": first.headers["etag"]})
            assert (304, b"") == (again.status_code, again.content)
        (static / "parts" / "one.js").write_text("export const a = 12;\n")
        changed = client.get(
            "/static/parts/one.js", headers={"if-none-match": first.headers["etag"]}
        )
        assert (200, "export const a = 12;\n") == (changed.status_code, changed.text)


def test_links_are_not_followed(folder: Path, tmp_path: Path, here: Any) -> None:
    """A link in the served folder does not bring in what lies elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    (folder / "circuits" / "path_a").rename(elsewhere)
    (folder / "circuits" / "path_a").symlink_to(elsewhere)
    with here(folder) as server, server.client() as client:
        found = {row["id"] for row in client.get("/api/home").json()["circuits"]}
    assert {"circuits-planted", "circuits-random"} == found


def test_sizes(live: Any) -> None:
    """Bodies, prompts, notes and lists of edits have a limit, however they are sent."""
    base = "/api/circuits/circuits-planted"
    head = f"Host: 127.0.0.1:{live.port}\nContent-Type: application/json\nConnection: close\n"
    announced = f"POST {base}/try HTTP/1.1\n{head}Content-Length: 99999999\n\n"
    assert 413 == status(raw(live.port, announced))
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    chunked = f"POST {base}/try HTTP/1.1\n{head}Transfer-Encoding: chunked\n\n".replace(
        "\n", "\r\n"
    )
    count = LARGEST_BODY // 65536 + 1
    assert 413 == status(raw(live.port, chunked.encode() + piece * count))
    with live.client() as client:
        for path, body in (
            ("try", {"text": "x" * 4001}),
            ("try", {"text": ""}),
            ("try", {"text": "x", "more": 1}),
            ("ask", {"edits": [{"off": "0.attn_in.1"}] * 2001}),
            ("ask", {"pair": 10**9}),
            ("ask", {"pair": -1}),
            ("save", {"name": "../evil"}),
            ("save", {"name": ""}),
        ):
            assert 422 == client.post(f"{base}/{path}", json=body).status_code, (
                path,
                str(body)[:40],
            )
        headers = {"Content-Type": "application/json"}
        infinite = b'{"edits": [{"node": "0.attn_in.1", "value": Infinity}]}'
        for text in (infinite, infinite.replace(b"Infinity", b"NaN"), b"[" * 50_000, b"{", b"\xff"):
            answer = client.post(f"{base}/ask", content=text, headers=headers)
            assert answer.status_code in (400, 422)
            assert {"kind", "message"} == answer.json()["error"].keys()
        assert 422 == client.put(f"{base}/annotations/{'a' * 65}", json=BODY).status_code
        assert 422 == client.put(NOTE, json=BODY | {"text": "x" * 10_001}).status_code


def test_policy(live: Any) -> None:
    """Every answer, errors too, forbids inline scripts, other sites, frames and guessing types."""
    with live.client() as client:
        answers = [client.get(p) for p in ("/", "/static/app.js", "/api/home", "/nothing")]
        answers.append(client.get("/api/home", headers={"Host": "evil.example"}))
    for answer in answers:
        rules = dict(
            part.strip().partition(" ")[::2]
            for part in answer.headers["content-security-policy"].split(";")
        )
        assert "'none'" == rules["default-src"] == rules["frame-ancestors"]
        assert "'self'" == rules["script-src"] == rules["style-src"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "nosniff" == answer.headers["x-content-type-options"]
    assert "text/javascript" == answers[1].headers["content-type"].partition(";")[0]


def test_text_is_text(live: Any) -> None:
    """Markup in a note comes back as the same text, in JSON that no browser takes for a page."""
    text = "<script>alert(1)</script>\u2028'\""
    path = "/api/circuits/circuits-planted/annotations/markup"
    with live.client() as client:
        assert text == client.put(path, json={"on": "circuit", "text": text}).json()["text"]
        answer = client.get("/api/circuits/circuits-planted/notes")
        client.request("DELETE", path, json={})
    assert text in [note["text"] for note in answer.json()["annotations"]]
    assert "application/json" == answer.headers["content-type"]


def test_refusals_steer_no_terminal(live: Any) -> None:
    """What a request calls a field is said in signs that print."""
    path = "/api/circuits/circuits-planted/ask"
    with live.client() as client:
        message = client.post(path, json={"\u202eX\x1b[31m": 1}).json()["error"]["message"]
    assert message.isprintable()
    assert "\\u202eX\\x1b[31m" in message


def test_insides_stay_inside(live: Any) -> None:
    """Errors are one line without paths of this machine."""
    with live.client() as client:
        for path in ("/api/circuits/none", "/api/circuits/circuits-planted/nodes/9.mlp_in.1"):
            message = client.get(path).json()["error"]["message"]
            assert "\n" not in message
            assert "Traceback" not in message


def test_token(made: Path, start: Any) -> None:
    """Bound elsewhere, nothing is answered without the token, and no foreign name even with it."""
    with start(made, "--host", "0.0.0.0") as server, server.client() as client:
        assert server.token
        for query in ("", "?token=", "?token=wrong", f"?token={server.token[:-1]}"):
            assert 403 == client.get(f"/{query}").status_code
            assert 403 == client.get(f"/api/home{query}").status_code
        opened = client.get(f"/?token={server.token}&x=1")
        assert (303, "./?x=1") == (opened.status_code, opened.headers["location"])
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert 200 == client.get("/api/home").status_code  # the client kept the cookie
        foreign = client.get("/api/home", headers={"Host": f"evil.example:{server.port}"})
        assert 403 == foreign.status_code


def test_loopback_needs_no_token_and_nobody_else_gets_in(live: Any) -> None:
    """By default only this machine can connect at all."""
    assert live.token is None
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells our own address
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection((own, live.port), 5)


def test_slow_senders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not finish a head or a body in time is sent away."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr("lacewing.pages.guard.LONGEST_BODY", 0.3)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    guarded = Guard(PlainTextResponse("reached"), "127.0.0.1", port, None)
    config = uvicorn.Config(guarded, http=serve.Timed, ws="none", lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        head = f"POST / HTTP/1.1\nHost: 127.0.0.1:{port}\nContent-Type: application/json\n"
        assert "" == raw(port, "GET / HT")  # closed without an answer
        assert 408 == status(raw(port, f"{head}Content-Length: 9\n\n{{"))
        done = httpx.post(f"http://127.0.0.1:{port}/", json={})
        assert "reached" == done.text
    finally:
        server.should_exit = True
        thread.join(20)
