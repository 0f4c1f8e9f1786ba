"""`lacewing watch --serve` as a user starts it, in a process of its own."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import micro
from lacewing.cli.app import main
from watch.live_text import changed, known, planted
from watch.test_monitor import cut


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run, its circuit and its reference, and a circuit of another run."""
    root = tmp_path_factory.mktemp("serve")
    model, _, reference = known()
    for name, one in (("run", model), ("other", changed(cut))):
        circuit = planted(one)
        object.__setattr__(circuit, "model_source", str(micro.write_run(one, root / name)))
        circuit.save(root / f"{name}.circuit")
    reference.save(root / "usual")
    return root


def words(place: Path, *more: str) -> list[str]:
    """The command."""
    given = ["watch", "--serve", "--model", str(place / "run"), "--port", "0"]
    return [*given, "--circuit", str(place / "run.circuit"), *more]


@contextmanager
def started(
    place: Path, environment: dict[str, str], *more: str
) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """The process, its address, and the first lines it said."""
    command = words(place, "--reference", str(place / "usual"), *more)
    process = subprocess.Popen(
        [sys.executable, "-m", "lacewing", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said: list[str] = []
        while not (said and "completions: " in said[-1]):
            said.append(process.stderr.readline())
            assert said[-1], said
        yield process, re.findall(r"http://\S+", said[-1])[0].removesuffix("v1"), said
    finally:
        process.kill()
        process.wait(30)
        process.stderr.close()


def test_it_serves_until_it_is_stopped(
    place: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Models, a completion, figures; Ctrl-C ends it with what was watched, port and all."""
    alarms = tmp_path / "alarms.jsonl"
    with started(place, environment, "--alarms", str(alarms)) as (process, url, _):
        assert process.stderr is not None
        with httpx.Client(base_url=url, timeout=60) as client:
            (model,) = client.get("v1/models").json()["data"]
            assert model["id"] == "run"
            asked = {"model": "run", "prompt": "Xkfm=", "max_tokens": 1, "temperature": 0}
            answer = client.post("v1/completions", json=asked).json()
            assert answer["choices"][0]["text"] == "P"
            assert answer["choices"][0]["lacewing"]["circuits"][0]["found"] == 1
            assert "lacewing_evidence_ratio 0.0" in client.get("metrics").text
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(30) in (0, 130)
    assert "6 tokens were watched; alarms: 0" in rest  # less than a look, and looked at
    assert "Traceback" not in rest
    assert alarms.read_text() == ""


def test_a_taken_port(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, before a word is answered."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(
            words(place, "--reference", str(place / "usual"), "--port", str(port)), capsys
        )
    assert f"cannot listen on 127.0.0.1 port {port}" in told


def refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command is refused with."""
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    (told,) = capsys.readouterr().err.strip().splitlines()
    return str(told)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ((), "--serve needs --reference"),
        (("--reference", "none"), "no watch reference at none"),
        (("--reference", "USUAL", "--text", "-"), "leave out --fit, --text and --before"),
        (("--reference", "USUAL", "--alarms", "."), "is a folder"),
        (("--reference", "USUAL", "--webhook", "ftp://me:secret@x"), "--webhook takes an http://"),
        (("--reference", "USUAL", "--host", "no.such.host.invalid"), "cannot listen on"),
        (("--reference", "USUAL", "--circuit", "OTHER"), "other"),
    ],
)
def test_mistakes_are_one_line(
    place: Path, more: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was wrong, and what to do; a webhook's secrets are not repeated."""
    there = {"USUAL": str(place / "usual"), "OTHER": str(place / "other.circuit")}
    told = refused(words(place, *(there.get(word, word) for word in more)), capsys)
    assert line in told
    assert "secret" not in told


def test_flags_of_serving_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are refused where nothing is served."""
    given = ["watch", "--circuit", str(place / "run.circuit"), "--text", "-"]
    told = refused([*given, "--webhook", "http://127.0.0.1:1/"], capsys)
    assert "--model and --webhook are for --serve" in told


PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: lacewing
  static_configs: [{{targets: ["{target}"]}}]
"""


@pytest.mark.long
def test_prometheus_scrapes_it(place: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """Debian's own, on the real server: the target is up and the figures are the page's."""
    tool = shutil.which("prometheus")
    if tool is None:
        pytest.skip("no prometheus on this machine: it is Debian's package prometheus")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with started(place, environment) as (_, url, _), httpx.Client(timeout=60) as client:
        asked = {"model": "run", "prompt": ["Xkfm="] * 4, "max_tokens": 3}
        for _ in range(2):
            assert client.post(f"{url}v1/completions", json=asked).status_code == 200
        config = tmp_path / "prometheus.yml"
        config.write_text(PROMETHEUS.format(target=urllib.parse.urlsplit(url).netloc))
        flags = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        with open(tmp_path / "log", "w") as log:
            scraper = subprocess.Popen(
                [tool, *flags, f"--web.listen-address=127.0.0.1:{port}"], stderr=log
            )
        try:
            found = _asked(client, port, "lacewing_prompt_tokens_total")
            assert found["value"][1] == "40"
            assert found["metric"]["job"] == "lacewing"
            assert _asked(client, port, 'up{job="lacewing"}')["value"][1] == "1"
            requests = _asked(client, port, 'lacewing_requests_total{status="200"}')
            assert requests["value"][1] == "2"
            assert _asked(client, port, "lacewing_model_info")["metric"]["name"] == "run"
            lost = client.get(f"http://127.0.0.1:{port}/api/v1/targets").json()
            assert [one["lastError"] for one in lost["data"]["activeTargets"]] == [""]
        finally:
            scraper.terminate()
            scraper.wait(30)


def _asked(client: httpx.Client, port: int, query: str) -> Any:
    """The one series that a query finds, once it is there."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            answer = client.get(
                f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}
            ).json()
        except (httpx.TransportError, json.JSONDecodeError):
            answer = {}
        if rows := answer.get("data", {}).get("result"):
            (row,) = rows
            return row
        time.sleep(0.3)
    raise AssertionError(f"prometheus never had {query}")
