"""Folders that somebody else made, or that were damaged: one bad row each, and a whole page."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import micro
from lacewing import artifacts
from lacewing.viewer import copies, notes, replies
from lacewing.viewer.folder import Library
from lacewing.viewer.home import home
from lacewing.viewer.state import Viewer

DEEP = "[" * 100_000 + "]" * 100_000
LONG = "1" + "0" * 5000
Make = Callable[[Path], None]


def seal(folder: Path) -> None:
    """Make what was changed whole again, as whoever means harm would."""
    kind = json.loads((folder / "manifest.json").read_text())["kind"]
    names = [p.name for p in folder.iterdir() if p.is_file() and p.name != "manifest.json"]
    artifacts.seal(folder, kind, names)


def text(name: str, content: str | bytes, sealed: bool = False) -> Make:
    """A file of other content."""

    def make(folder: Path) -> None:
        raw = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(raw)
        if sealed:
            seal(folder)

    return make


def said(name: str, *keys: str, value: Any) -> Make:
    """A JSON file in which one value is another, sealed anew."""

    def make(folder: Path) -> None:
        whole = json.loads((folder / name).read_text())
        place = whole
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (folder / name).write_text(json.dumps(whole).replace('"LONG"', LONG))
        seal(folder)

    return make


def without(name: str, sealed: bool = False) -> Make:
    """A file less."""

    def make(folder: Path) -> None:
        (folder / name).unlink()
        if sealed:
            seal(folder)

    return make


def cut(name: str, sealed: bool = False) -> Make:
    """A file that ends too soon."""

    def make(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-20])
        if sealed:
            seal(folder)

    return make


def link(name: str) -> Make:
    """A link out of the served folder."""

    def make(folder: Path) -> None:
        outside = folder.parents[2] / "outside"
        outside.mkdir(exist_ok=True)
        target = outside / name
        if (folder / name).exists():
            shutil.copy(folder / name, target)
            (folder / name).unlink()
        elif name == "verification":
            target.mkdir(exist_ok=True)
        else:
            target.write_text('{"annotations": []}')
        (folder / name).symlink_to(target)

    return make


def folder_for(name: str) -> Make:
    """A folder in a file's place."""

    def make(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return make


def pipe_for(name: str) -> Make:
    """A pipe that nobody writes to in a file's place."""

    def make(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return make


CIRCUITS: dict[str, Make] = {
    "manifest missing": without("manifest.json"),
    "manifest cut": cut("manifest.json"),
    "manifest a list": text("manifest.json", "[]"),
    "manifest of nan": text("manifest.json", '{"format": NaN, "kind": "circuit", "files": {}}'),
    "manifest deep": text("manifest.json", DEEP),
    "manifest of a long number": text("manifest.json", f'{{"kind": "circuit", "format": {LONG}}}'),
    "manifest a folder": folder_for("manifest.json"),
    "manifest of tomorrow": text("manifest.json", '{"format": 99, "kind": "circuit", "files": {}}'),
    "manifest that climbs": text(
        "manifest.json",
        '{"format": 1, "kind": "circuit", "files": {"../../x": {"size": 1, "sha256": ""}}}',
    ),
    "facts missing": without("circuit.json"),
    "facts cut": cut("circuit.json"),
    "facts cut and sealed": cut("circuit.json", sealed=True),
    "facts a list": text("circuit.json", "[]", sealed=True),
    "facts deep": text("circuit.json", DEEP, sealed=True),
    "facts a folder": folder_for("circuit.json"),
    "facts a pipe": pipe_for("circuit.json"),
    "facts a link": link("circuit.json"),
    "losses a list": said("circuit.json", "losses", value=[1, 2]),
    "loss nan": said("circuit.json", "losses", "circuit", value=float("nan")),
    "seed of 5001 digits": said("circuit.json", "config", "seed", value="LONG"),
    "task a number": said("circuit.json", "task", value=7),
    "task of a megabyte": said("circuit.json", "task", value="x" * 2**20),
    "target a text": said("circuit.json", "config", "target_loss", value="low"),
    "ablation junk": said("circuit.json", "ablation", value="junk"),
    "nodes cut": cut("nodes.safetensors"),
    "nodes cut and sealed": cut("nodes.safetensors", sealed=True),
    "nodes foreign": text("nodes.safetensors", b"no tensors", sealed=True),
    "nodes missing": without("nodes.safetensors"),
    "pairs cut": cut("pairs.jsonl", sealed=True),
    "pairs junk": text("pairs.jsonl", "{}\n", sealed=True),
    "notes a link": link("annotations.json"),
    "verification a link": link("verification"),
}
RUNS: dict[str, Make] = {
    "config missing": without("config.json"),
    "config of texts": said("config.json", "model", "n_layer", value="two"),
    "config of nan": said("config.json", "training", "density", value=float("nan")),
    "config of a long number": said("config.json", "model", "d_model", value="LONG"),
    "summary a list": text("summary.json", "[]", sealed=True),
    "scores a number": text("tasks.json", "7"),
    "scores of other types": text("tasks.json", '{"tasks": [{"name": "if_equals", "loss": "x"}]}'),
    "weights a link": link("model.safetensors"),
}
POINTS = '{"target_loss": 0.1, "tasks": [], "points": [%s]}'
SWEEPS: dict[str, tuple[str, str]] = {
    "cut": ("frontier.json", "{"),
    "list": ("frontier.json", "[]"),
    "deep": ("frontier.json", DEEP),
    "numbers": ("frontier.json", POINTS % "1, 2"),
    "no points": ("frontier.json", "{}"),
    "long number": ("frontier.json", f'{{"points": {LONG}}}'),
    "rows of text": ("comparison.json", '{"rows": "abc"}'),
    "row of other types": (
        "comparison.json",
        '{"rows": [{"task": "t", "seed": [], "side": "s", "edges": 1, "losses": {}}]}',
    ),
}
FINE: dict[str, Make] = {
    "name \x1b[31m\n of signs": lambda folder: None,
    os.fsdecode(b"name \xff\xfe of bytes"): lambda folder: None,
    "notes junk": text("annotations.json", "{"),
    "notes deep": text("annotations.json", DEEP),
    "verdict junk": text("verification.json", '{"tests": 7}'),
    "verdict deep": text("verification.json", DEEP),
    "explanations junk": text("explanations.json", '{"a": NaN}'),
}
"""What stands beside a circuit, or is only its name, keeps no circuit off the list."""


@pytest.fixture
def hostile(folder: Path) -> Path:
    """The folder with two runs and three circuits, and every kind of bad one beside them."""
    for kinds, whole, place in (
        (CIRCUITS | FINE, folder / "circuits" / "planted", folder / "bad"),
        (RUNS, folder / "micro", folder / "bad runs"),
    ):
        for name, make in kinds.items():
            shutil.copytree(whole, place / name)
            make(place / name)
    for name, (file, content) in SWEEPS.items():
        (folder / "sweeps" / name).mkdir(parents=True)
        (folder / "sweeps" / name / file).write_text(content)
    return folder


def test_every_bad_folder_is_a_row_with_its_reason(made: Path, hostile: Path) -> None:
    """And all that is whole is shown as before; at least 33 kinds."""
    before, viewer = Viewer(made), Viewer(hostile)
    try:
        whole = {row["id"] for row in home(before)["circuits"]}
        models = {row["id"] for row in home(before)["models"]}
        answer = json.loads(replies.home_json(viewer))
        found = viewer.library.contents().circuits
    finally:
        before.close()
        viewer.close()
    told = {row["folder"]: row["error"] for row in answer["broken"]}
    rows = {id: row for row in answer["circuits"] for id in (row["id"], *row["copies"])}
    told |= {f"bad/{found[id].folder.name}": r["error"] for id, r in rows.items() if r["error"]}
    assert whole <= rows.keys()
    assert models <= {row["id"] for row in answer["models"]}
    bad = [f"bad/{n}" for n in CIRCUITS] + [f"bad runs/{n}" for n in RUNS]
    bad += [f"sweeps/{name}/{file}" for name, (file, _) in SWEEPS.items()]
    assert len(bad) >= 33
    assert [name for name in bad if name not in told] == []
    assert [e for e in told.values() if not e or "\n" in e or "\x1b" in e or len(e) > 600] == []
    assert len(FINE) + len(whole) == sum(not row["error"] for row in rows.values())


def test_every_answer_of_a_bad_folder_is_an_error_of_one_line(hostile: Path, here: Any) -> None:
    """Whatever is asked of it; nothing that is not foreseen."""
    with here(hostile) as server, server.client() as client:
        answer = client.get("/api/home").json()
        for row in answer["circuits"]:
            for part in ("", "/notes", "/prompts"):
                got = client.get(f"/api/circuits/{row['id']}{part}")
                assert got.status_code in (200, 409), (row["id"], part, got.text[:200])
        assert 200 == client.get("/api/frontier").status_code


def test_links_are_neither_served_nor_written_through(folder: Path, here: Any) -> None:
    """Notes and results of tests that are links to somewhere else."""
    outside = folder.parent / "outside"
    outside.mkdir()
    secret = outside / "secret.json"
    secret.write_text('{"annotations": [{"id": "a", "on": "circuit", "text": "s", "changed": 1}]}')
    base = "/api/circuits/circuits-planted"
    with here(folder) as server, server.client() as client:
        assert 200 == client.get(base).status_code  # it is known, and open
        (folder / "circuits" / "planted" / "annotations.json").symlink_to(secret)
        (folder / "circuits" / "planted" / "verification").symlink_to(outside)
        note = {"on": "circuit", "text": "mine"}
        for answer in (
            client.get(f"{base}/notes"),
            client.put(f"{base}/annotations/b", json=note),
            client.post(f"{base}/verify", json={"all": True}),
        ):
            assert answer.status_code in (404, 409), answer.text
            assert '"s"' not in answer.text
    assert "mine" not in secret.read_text()
    assert ["secret.json"] == [path.name for path in outside.iterdir()]


def test_one_of_many_savers_wins(folder: Path, here: Any) -> None:
    """Of six who save under one name at once, one is told so and five are told that it is taken."""
    codes: list[int] = []
    gate = threading.Barrier(6)
    with here(folder) as server:

        def save() -> None:
            with server.client() as client:
                gate.wait(30)
                made = client.post("/api/circuits/circuits-planted/save", json={"name": "mine"})
                codes.append(made.status_code)

        people = [threading.Thread(target=save) for _ in range(6)]
        for person in people:
            person.start()
        for person in people:
            person.join()
    assert [201, 409, 409, 409, 409, 409] == sorted(codes)
    assert (folder / "circuits" / "mine" / "manifest.json").is_file()


def test_a_circuit_is_there_while_its_notes_are_saved(folder: Path) -> None:
    """However often its folder is read meanwhile."""
    place, library, over = folder / "circuits" / "planted", Library(folder), threading.Event()

    def write() -> None:
        for number in range(300):
            notes.put(place, "annotations", f"n{number % 20}", {"on": "circuit", "text": "x"})
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    missing = 0
    while not over.is_set():
        library.changed()
        missing += "circuits-planted" not in library.contents().circuits
    writer.join()
    assert 0 == missing


def test_a_task_of_a_circuit_opens_no_file(folder: Path, tmp_path: Path) -> None:
    """A circuit may say that its task is any file of this machine."""
    pairs = micro.write_pairs(tmp_path / "secret.jsonl")
    said("circuit.json", "task", value=str(pairs))(folder / "circuits" / "planted")
    viewer = Viewer(folder)
    row = next(r for r in home(viewer)["circuits"] if r["id"] == "circuits-planted")
    viewer.close()
    assert (str(pairs), "") == (row["task"], row["description"])


@pytest.mark.parametrize("source", ["hf:../circle", "hf:./a\0b"])
def test_a_model_s_path_that_leads_nowhere(folder: Path, here: Any, source: str) -> None:
    """A circuit may name any: one row with its reason, and all others as they were."""
    (folder / "circuits" / "circle").symlink_to(folder / "circuits" / "circle")
    circuit = folder / "circuits" / "planted"
    said("circuit.json", "model_source", value=source)(circuit)
    said("circuit.json", "model_id", value="another")(circuit)
    with here(folder) as server, server.client() as client:
        answer = client.get("/api/home")
        assert answer.status_code == 200, answer.text
        rows = {row["id"]: row["error"] for row in answer.json()["circuits"]}
        assert rows.pop("circuits-planted")
        assert len(rows) > 1
        groups = client.get("/api/groups/circuits-planted")
        assert groups.status_code == 409, groups.text
        assert "\n" not in groups.json()["error"]["message"]


def test_reasons_steer_no_terminal(folder: Path) -> None:
    """What a folder calls its tensors and its model is shown in signs that print."""
    planted, other = (folder / "circuits" / name for name in ("planted", "path_a"))
    nodes = artifacts.read_tensors(planted / "nodes.safetensors")
    nodes["nodes/\u202ex\x1b[31m"] = nodes.pop(next(iter(nodes)))
    artifacts.write_tensors(planted / "nodes.safetensors", nodes)
    seal(planted)
    said("circuit.json", "model_source", value="hf:\u202ex\x1b[31m")(other)
    said("circuit.json", "model_id", value="another")(other)
    viewer = Viewer(folder)
    rows = {row["id"]: row["error"] for row in home(viewer)["circuits"]}
    viewer.close()
    for id in ("circuits-planted", "circuits-path_a"):
        assert rows[id].isprintable()
        assert "\\u202ex" in rows[id]


def test_a_copy_leaves_out_what_does_not_open(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad circuit is no reason for no copy; it is told."""
    shutil.copytree(folder / "circuits" / "planted", folder / "circuits" / "bad")
    CIRCUITS["nodes foreign"](folder / "circuits" / "bad")
    viewer = Viewer(folder)
    opened = {id for id in viewer.library.contents().circuits if copies.opens(viewer, id)}
    viewer.close()
    assert {"circuits-planted", "circuits-path_a", "circuits-random"} == opened
    assert capsys.readouterr().err.startswith("left out: circuits-bad: ")
