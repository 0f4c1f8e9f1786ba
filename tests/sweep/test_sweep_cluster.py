"""A sweep on a real Ray cluster of two nodes on this machine; skipped where Ray is missing."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import letters
import pytest

pytest.importorskip("ray", reason="needs Ray: pip install 'lacewing[cluster]'")

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}


@contextlib.contextmanager
def node(arguments: Sequence[str], environment: dict[str, str]) -> Iterator[None]:
    """A Ray node of one core, ended by its own process id."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, "--block"]
    store = ["--num-cpus", "1", "--object-store-memory", str(2**27)]
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(
            [*command, *store], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield
        finally:
            started.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


@pytest.fixture
def cluster(environment: dict[str, str]) -> Iterator[str]:
    """The address of a cluster of two nodes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    port = address.split(":")[1]
    # Ray's sockets have short names only.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        head = ["--head", "--port", port, "--include-dashboard", "false", "--temp-dir", folder]
        with node(head, environment | QUIET):
            _wait_for(address)
            with node(["--address", address], environment | QUIET):
                yield address


def _wait_for(address: str) -> None:
    host, port = address.split(":")
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"no Ray head at {address}")


def test_jobs_run_on_both_nodes(
    place: Path,
    cluster: str,
    program: Callable[[Sequence[str]], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
) -> None:
    """Two models on two nodes of one core each, and the frontier of both."""
    for name, value in QUIET.items():
        monkeypatch.setitem(environment, name, value)
    config = letters.write_config(place, twins=False, trials=1, trials_elsewhere=1)
    output = tmp_path / "out"
    program(["-c", WAIT.format(cluster)])
    words = ["sweep", "--config", str(config), "--output", str(output), "--cluster", cluster]
    program(["-m", "lacewing", *words])
    results = [json.loads(p.read_text()) for p in output.glob("jobs/*/model/result.json")]
    assert 2 == len({result["where"]["node"] for result in results})
    points = json.loads((output / "frontier.json").read_text())["points"]
    assert 2 == len(points)
    # So short a training need not teach both models the task.
    assert any(point["edges"] is not None for point in points)


WAIT = """
import ray, time
ray.init(address={0!r}, log_to_driver=False)
while ray.cluster_resources().get("CPU", 0) < 2:
    time.sleep(0.2)
"""
