"""A folder with two runs and three circuits, and real servers over it."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

import micro
from lacewing.circuit.circuit import circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, load
from lacewing.pages.guard import Guard
from lacewing.viewer import serve
from lacewing.viewer.server import application
from lacewing.viewer.state import Viewer

PAGE = {
    "index.html": (
        "<!doctype html><html><head><title>t</title>"
        '<script type="module" src="static/app.js"></script></head><body></body></html>'
    ),
    "app.js": 'import { a as b } from "./parts/one.js";\nexport const c = b + 1;\n',
    "parts/one.js": "export const a = 1;\n",
}


def some_nodes(model: Model, per_site: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A few random channels of every site."""
    generator = np.random.default_rng(seed)
    return {
        key: np.sort(generator.choice(width, min(per_site, width), replace=False)).astype(np.int32)
        for key, width in site_widths(model.network.config).items()
    }


def add(folder: Path, run: Path, nodes: dict[str, np.ndarray], count: int = 24) -> None:
    """Save a circuit of a run."""
    model = load(run)
    test = micro.prompts(count, 7, model.tokenizer)
    answers = tuple(sorted(set(test.answer.tolist())))
    circuit = circuit_of(
        model.network,
        nodes,
        model_id=model.id,
        model_source=str(run),
        task="first_letter",
        answers=answers,
        ablation="mean",
        config=PruneConfig(target_loss=micro.TARGET),
        losses={"full": 0.01, "circuit": 0.02},
        pairs=test.pairs,
    )
    circuit.save(folder)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs and three circuits; read only."""
    root = tmp_path_factory.mktemp("viewer") / "work"
    model = micro.micro()
    runs = {"micro": model, "busy": micro.busy(16)}
    for name, one in runs.items():
        micro.write_run(one, root / name)
    config = model.network.config
    add(root / "circuits" / "planted", root / "micro", micro.nodes_of(micro.PLANTED, config))
    add(root / "circuits" / "path_a", root / "micro", micro.nodes_of(micro.PATH_A, config))
    add(root / "circuits" / "random", root / "busy", some_nodes(runs["busy"], 6))
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the folder that a test may change."""
    shutil.copytree(made, tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture(scope="session")
def opened(made: Path) -> Iterator[Viewer]:
    """The folder, opened without a server; read only."""
    viewer = Viewer(made)
    yield viewer
    viewer.close()


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three files."""
    static = tmp_path_factory.mktemp("static")
    for name, content in PAGE.items():
        (static / name).parent.mkdir(exist_ok=True)
        (static / name).write_text(content)
    return static


@dataclass
class Live:
    """A server, in a process of its own where there is one."""

    process: "subprocess.Popen[str] | None"
    url: str
    token: str | None

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.url.rstrip("/").rpartition(":")[2])

    def client(self, **options: Any) -> httpx.Client:
        """Somebody who asks it."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, **options)

    def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


Starter = Callable[..., Any]


@contextmanager
def serving(
    root: Path, static: Path, buffer: int | None = None, models: tuple[str, ...] = ()
) -> Iterator[Live]:
    """The same server in this process: quick to start, where no process is to be killed.

    `buffer` is how many bytes the system keeps of what nobody reads; by itself it may be millions.
    `models` can be traced beside those of the folder.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    if buffer is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    port = listening.getsockname()[1]
    app = Guard(application(Viewer(root, models=models), static), "127.0.0.1", port, None)
    config = uvicorn.Config(app, http=serve.Timed, log_level="warning", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield Live(None, f"http://127.0.0.1:{port}/", None)
    finally:
        running.should_exit = True
        thread.join(timeout=20)


@pytest.fixture(scope="session")
def here(page: Path) -> Starter:
    """Serve a folder, with the small page or another, from this process; ends with the block."""
    return lambda root, static=page, **more: serving(root, static, **more)


@pytest.fixture(scope="session")
def start(environment: dict[str, str], page: Path) -> Starter:
    """Start `lacewing view` over a folder; ends with the block."""

    @contextmanager
    def started(root: Path, *flags: str) -> Iterator[Live]:
        command = [sys.executable, "-m", "lacewing", "view", "--run", str(root)]
        process = subprocess.Popen(
            [*command, "--port", "0", "--no-browser", *flags],
            env=environment | {"LACEWING_STATIC": str(page)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            found = re.search(r"(http://[^/]+/)(?:\?token=(\S+))?", line)
            assert found, line + process.stderr.read()
            yield Live(process, found[1], found[2])
        finally:
            process.terminate()
            process.wait(30)
            process.stderr.close()

    return started


@pytest.fixture(scope="session")
def live(made: Path, start: Starter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server over a copy of the folder, for tests that ask and write."""
    copy = tmp_path_factory.mktemp("live") / "work"
    shutil.copytree(made, copy)
    with start(copy) as server:
        yield server
