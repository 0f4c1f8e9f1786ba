"""The monitor behind a served model: figures, alarms, clients that leave, and the guard."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse

from lacewing.pages.guard import Guard
from viewer.test_viewer_security import raw, status
from viewer.watched import Served, serving
from watch.live_text import changed, lines
from watch.test_monitor import cut
from watch.test_sending import Receiver, receiving


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The micro model, answering."""
    with serving() as running:
        yield running


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_clean_text_is_watched(served: Served) -> None:
    """Looks fill up with what is asked; every figure of the page moves with them."""
    before = served.figures()
    served.feed(176)
    with served.client() as client:
        state = client.get("/api/watch").json()
        rows = state["looks_after"]
        assert (
            client.get("/api/watch", params={"since": rows[0]["number"]}).json()["looks_after"]
            == (rows[1:])
        )
        assert client.get("/api/watch", params={"since": -1}).status_code == 400
    assert state["looks"] == len(rows) >= 2
    assert state["tokens"] == rows[-1]["tokens"]
    assert (state["alarms"], state["changed"]) == (0, False)
    kinds = [group["kind"] for group in state["groups"]]
    assert kinds == ["agrees", "carried", "jointly", "head", "node", "places", "text"]
    assert all(len(row["scores"]) == len(row["evidences"]) == len(kinds) for row in rows)
    assert rows[-1]["evidence"] == pytest.approx(sum(rows[-1]["evidences"]), rel=1e-2)
    after = served.figures()
    assert after['lacewing_requests_total{status="200"}'] == 11
    assert after["lacewing_prompt_tokens_total"] > before["lacewing_prompt_tokens_total"] + 2000
    assert after["lacewing_looks_total"] == state["looks"]
    assert after['lacewing_places{circuit="first_letter"}'] == state["circuits"][0]["places"]
    assert after['lacewing_agreement_ratio{circuit="first_letter"}'] == 1
    assert after["lacewing_model_changed"] == 0


def test_promtool_finds_no_fault(served: Served) -> None:
    """The page is one that Prometheus takes, with helps and units as it likes them."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("no promtool on this machine: it is in Debian's package prometheus")
    with served.client() as client:
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    done = subprocess.run(
        [tool, "check", "metrics"], input=answer.content, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_changed_model_is_told_everywhere(tmp_path: Path) -> None:
    """At once, by the fixed prompts: to the file, the webhook, the page, the figures, answers."""
    told = tmp_path / "alarms.jsonl"
    with receiving() as server:
        url = f"http://127.0.0.1:{server.server_port}/hook"
        with serving(changed(cut), told, url) as served:
            until(lambda: bool(server.got))
            answer = served.ask(prompt="Xkfm=", max_tokens=1).json()
            figures = served.figures()
            with served.client() as client:
                (alarm,) = client.get("/api/watch").json()["last_alarms"]
    assert [json.loads(line) for line in told.read_text().splitlines()] == [alarm]
    assert [body for _, _, body in server.got] == [alarm]
    assert answer["lacewing"]["alarms"] == 1
    assert answer["lacewing"]["changed"]
    assert answer["lacewing"]["last_alarms"] == [alarm]
    assert (alarm["cause"], alarm["circuit"]) == ("model", "first_letter")
    assert "0.attn_in.1 -> 0.attn_v.0" in alarm["parts"]
    assert figures['lacewing_alarms_total{cause="model"}'] == 1
    assert figures['lacewing_alarms_sent_total{outcome="written",to="file"}'] == 1
    assert figures["lacewing_model_changed"] == 1


def test_alarms_go_nowhere_and_answers_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a disk that is full and a webhook that is down."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with Receiver() as down:
        port = down.server_port
    with serving(changed(cut), full, f"http://127.0.0.1:{port}/secret") as served:
        began = time.monotonic()
        assert served.ask(prompt="Xkfm=", max_tokens=1).status_code == 200
        assert time.monotonic() - began < 5
        figures = served.figures()
    assert figures['lacewing_alarms_sent_total{outcome="failed",to="file"}'] == 1
    said = capsys.readouterr().err
    assert "an alarm was not written: disk full while writing /dev/full" in said
    assert "secret" not in said


def test_a_client_that_leaves(served: Served) -> None:
    """Its text is written no further, what there is of it is read, and others are answered."""
    body = {"model": served.service.name, "prompt": "Xkfm=", "max_tokens": 2000, "stream": True}
    content = json.dumps(body | {"seed": 0, "logprobs": 0})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    before = served.figures()
    with socket.create_connection(("127.0.0.1", served.port), 20) as line:
        line.sendall((head + content).encode())
        assert b"data: " in line.recv(65536) + line.recv(65536)
    left = 'lacewing_requests_total{status="499"}'
    until(lambda: served.figures().get(left, 0) > before.get(left, 0))
    written = "lacewing_completion_tokens_total"
    assert 0 < served.figures()[written] - before[written] < 1999
    assert served.ask(prompt="Yvap=", max_tokens=1, temperature=0).json()["choices"]


def test_the_guard_is_the_viewers(served: Served) -> None:
    """Other names, other sites, forms and large bodies are refused, in OpenAI's shape."""
    asked = json.dumps({"model": served.service.name, "prompt": "Xkfm="})
    foreign = f"GET /metrics HTTP/1.1\nHost: evil.example:{served.port}\nConnection: close\n\n"
    assert status(raw(served.port, foreign)) == 403
    for headers, content, wanted in (
        ({"Origin": "http://evil.example"}, asked, 403),
        ({"Sec-Fetch-Site": "cross-site"}, asked, 403),
        ({"Content-Type": "text/plain"}, asked, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, asked, 415),
        ({}, '{"prompt": "' + "a" * 300_000 + '"}', 413),
    ):
        with served.client(headers={"Content-Type": "application/json"} | headers) as client:
            answer = client.post("/v1/completions", content=content)
        assert answer.status_code == wanted
        assert answer.json()["error"]["type"] in ("invalid_request_error", "permission_error")
        assert not [name for name in answer.headers if name.startswith("access-control")]
    with served.client() as client:
        page = client.get("/")
        for path in ("static/../../store.py", "static/%2e%2e/app.py", "docs", "openapi.json"):
            assert client.get(f"/{path}").status_code == 404
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<title>lacewing watch</title>" in page.text


@pytest.mark.parametrize(
    ("authorization", "wanted"),
    [("Bearer right", 200), ("bearer right", 200), ("Bearer wrong", 403), ("Basic right", 403)],
)
def test_programs_show_the_token_as_a_bearer(authorization: str, wanted: int) -> None:
    """As clients of OpenAI and Prometheus do."""
    import asyncio

    guard = Guard(PlainTextResponse("fine"), "0.0.0.0", 80, "right")

    async def asked() -> int:
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get("/", headers={"Authorization": authorization})).status_code

    assert asyncio.run(asked()) == wanted


def test_many_ask_at_once(served: Served) -> None:
    """Each gets its own answer, as if it were alone."""
    from concurrent.futures import ThreadPoolExecutor

    prompts = lines(12, 5)

    def ask(prompt: str) -> str:
        answer = served.ask(prompt=prompt[:-1], max_tokens=6, seed=3, temperature=0.8)
        return str(answer.json()["choices"][0]["text"])

    alone = [ask(prompt) for prompt in prompts]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, prompts)) == alone
