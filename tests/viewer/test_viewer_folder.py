"""What is read of a served folder beside circuits: damage, frontiers, verdicts, explanations."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import micro
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.shipped import folder_of
from lacewing.verification.verify import Verification, saved_verification
from lacewing.viewer import replies
from lacewing.viewer.emergences import emergences
from lacewing.viewer.frontier import frontier
from lacewing.viewer.home import home
from lacewing.viewer.meanings import meanings
from lacewing.viewer.state import Viewer


def test_broken_and_lost(folder: Path) -> None:
    """A damaged circuit, and one whose model is elsewhere, are shown as what they are."""
    (folder / "circuits" / "path_a" / "nodes.safetensors").write_bytes(b"x")
    for part in ("micro",):
        (folder / part / "manifest.json").unlink()
    viewer = Viewer(folder)
    found = home(viewer)
    rows = {row["id"]: row for row in found["circuits"]}
    assert ["circuits/path_a"] == [b["folder"] for b in found["broken"]]
    assert rows["circuits-planted"]["model"] is None
    assert "not under the served folder" in rows["circuits-planted"]["error"]
    viewer.close()


def test_a_circuit_in_two_folders_is_listed_once(folder: Path) -> None:
    """The folder with the newest verdict is listed; the other opens too, and points lead there."""
    first, copy = folder / "circuits" / "planted", folder / "comparison" / "sparse" / "planted-0"
    Circuit.load(first).save(copy)
    viewer = Viewer(folder)
    rows = {row["id"]: row for row in home(viewer)["circuits"]}
    assert ["comparison-sparse-planted-0"] == rows["circuits-planted"]["copies"]
    assert [] == rows["circuits-path_a"]["copies"]
    viewer.close()
    no = micro.SHORT_TEST | {"necessary": micro.SHORT_TEST["necessary"] | {"verdict": False}}
    for place, told, when in ((first, micro.SHORT_TEST, 1_000), (copy, no, 2_000)):
        (place / "verification.json").write_text(json.dumps(told))
        os.utime(place / "verification.json", (when, when))
    row = {"task": "t", "seed": 0, "side": "sparse", "edges": 8, "losses": {"circuit": 0.02}}
    data = {"rows": [row | {"folder": "planted"}], "sparse": "a", "target_loss": 0.05}
    (folder / "circuits" / "comparison.json").write_text(json.dumps(data))
    viewer = Viewer(folder)
    rows = {row["id"]: row for row in home(viewer)["circuits"]}
    assert {"circuits-path_a", "circuits-random", "comparison-sparse-planted-0"} == set(rows)
    newest = rows["comparison-sparse-planted-0"]
    assert "1 of 2 short tests; fails: necessary" == newest["verdict"]
    assert ["circuits-planted"] == newest["copies"]
    ((point,),) = (sweep["points"] for sweep in frontier(viewer)["sweeps"])
    assert ["comparison-sparse-planted-0"] == point["circuits"]
    assert "first_letter" == viewer.session("circuits-planted").circuit.task
    viewer.close()


def test_frontier(folder: Path) -> None:
    """A comparison's circuits are points that open them; what cannot be read is left out."""
    row = {"task": "t", "seed": 0, "side": "sparse", "edges": 8, "losses": {"circuit": 0.02}}
    data = {"rows": [row | {"folder": "planted"}], "sparse": "a", "target_loss": 0.05}
    (folder / "circuits" / "comparison.json").write_text(json.dumps(data))
    (folder / "busy" / "frontier.json").write_text("{")
    viewer = Viewer(folder)
    (sweep,) = frontier(viewer)["sweeps"]
    (point,) = sweep["points"]
    viewer.close()
    assert (0.02, 8.0, ["circuits-planted"]) == (point["x"], point["y"], point["circuits"])


def test_a_linked_folder_is_told(folder: Path, tmp_path: Path) -> None:
    """What a link leads to is not read; the first page says so."""
    moved = tmp_path / "elsewhere"
    (folder / "circuits" / "planted").rename(moved)
    (folder / "circuits" / "planted").symlink_to(moved)
    viewer = Viewer(folder)
    found = home(viewer)
    viewer.close()
    assert "circuits-planted" not in {row["id"] for row in found["circuits"]}
    (told,) = (row["error"] for row in found["broken"] if row["folder"] == "circuits/planted")
    assert "a link" in told


def test_emergences(folder: Path) -> None:
    """States of a training name their circuits; what cannot be read is told."""
    state = {"step": 1, "tokens": 9, "validation_loss": 2.0, "full": 0.1, "nodes": 3, "edges": 2}
    state |= {"loss": 0.1, "shared": 3, "by_chance": 0.1, "reason": None, "folder": "planted"}
    data = {"task": "t", "target_loss": 0.15, "states": [state, state | {"folder": "gone"}]}
    (folder / "circuits" / "emergence.json").write_text(json.dumps(data))
    (folder / "busy" / "emergence.json").write_text('{"states": [1], "target_loss": 1}')
    viewer = Viewer(folder)
    found = emergences(viewer)
    (one,) = found["emergences"]
    assert ["circuits-planted", None] == [s["circuit"] for s in one["states"]]
    (broken,) = found["broken"]
    assert "emergence.json" in broken["folder"]
    assert broken in home(viewer)["broken"]
    viewer.close()


def test_frontier_of_a_sweep(made: Path, tmp_path: Path) -> None:
    """What a sweep writes: each model a point that names its circuits, or told why it has none."""
    sweep = tmp_path / "sweep"
    circuit = "jobs/w16/tasks/first_letter/sparse/0.15"
    shutil.copytree(made / "micro", sweep / "jobs" / "w16" / "model" / "sparse")
    shutil.copytree(made / "circuits" / "planted", sweep / circuit)
    common = {"width": 16, "density": 0.5, "activation": 0.25, "seed": 0, "nonzero": 9}
    rows = [
        {"label": "one", "side": "sparse", "edges": 8.0, "low": 6.0, "high": 9.0, "reason": None},
        {"label": "two", "side": "dense", "edges": None, "low": None, "high": None, "reason": "r"},
    ]
    found = {"validation_loss": 2.5, "nodes": 15.0, "model": "jobs/w16/model/sparse"}
    circuits_of = [{"reached": ["first_letter"], "circuits": [circuit]}]
    circuits_of += [{"reached": [], "circuits": []}]
    points = [common | found | r | c for r, c in zip(rows, circuits_of, strict=True)]
    data = {"target_loss": 0.15, "tasks": ["first_letter"], "points": points, "failed": []}
    for place in (sweep / "frontier.json", sweep / "summary" / "frontier.json"):
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(data))
    viewer = Viewer(tmp_path)
    (shown,) = frontier(viewer)["sweeps"]  # the copy in summary/ is the same frontier
    (point,) = shown["points"]
    (id,) = point["circuits"]
    assert circuit.replace("/", "-").endswith(id.removeprefix("sweep-"))
    assert 15 == viewer.session(id).circuit.n_nodes
    viewer.close()
    assert (2.5, 8.0, [6.0, 9.0]) == (point["x"], point["y"], point["y_interval"])
    assert (["first_letter"], "sparse") == (point["tasks"], point["series"])
    assert [{"label": "two", "reason": "r"}] == shown["missing"]


def test_labels_name_tokens_of_the_task(opened: Viewer) -> None:
    """Whatever the vocabulary holds: tokens of the prompts where a node reads, answers above."""
    session = opened.session("circuits-planted")
    prompts, answers = session.prompts, session.circuit.answers
    read = {prompts.tokens[i, : at + 1].unique() for i, at in enumerate(prompts.last.tolist())}
    inside = {session.model.tokenizer.token(int(t)) for row in read for t in row}
    written = {session.model.tokenizer.token(t) for t in answers}
    answer = json.loads(replies.circuit_json(opened, "circuits-planted"))
    for node, token in zip(answer["nodes"], answer["about"], strict=True):
        known = written if node["site"] in ("attn_out", "mlp_out", "resid_final") else inside
        assert token is None or token in known, node["id"]
    about = dict(zip((n["id"] for n in answer["nodes"]), answer["about"], strict=True))
    assert about["0.attn_in.1"] in ("X", "Y")
    assert about["resid_final.4"] in ("P", "Q")
    assert about["0.attn_in.3"] == "="
    label = next(n["label"] for n in answer["nodes"] if n["id"] == "resid_final.4")
    assert {"'P'", "'Q'"} == {word.split(" ")[0] for word in label.split(", ")}


def test_verdicts(folder: Path) -> None:
    """Of the short test alone; what is no verification is none."""
    yes = micro.SHORT_TEST
    no = yes | {"necessary": yes["necessary"] | {"verdict": False}}
    assert "2 of 2 short tests" == Verification.from_json(yes).verdict
    assert "1 of 2 short tests; fails: necessary" == Verification.from_json(no).verdict
    place = folder / "circuits" / "planted"
    for odd in ("null", "{}", "[]", "{"):
        (place / "verification.json").write_text(odd)
        assert saved_verification(place) is None


def test_a_circuit_without_nodes_is_none(folder: Path) -> None:
    """Whatever an older version found of it, the list says so."""
    place = folder / "circuits" / "planted"
    nothing = micro.make(micro.micro(), {}, model_source=Circuit.load(place).model_source)
    nothing.save(folder / "circuits" / "nothing")
    (folder / "circuits" / "nothing" / "verification.json").write_text(json.dumps(micro.SHORT_TEST))
    (place / "verification.json").write_text(json.dumps(micro.SHORT_TEST))
    viewer = Viewer(folder)
    verdicts = {row["id"]: row["verdict"] for row in home(viewer)["circuits"]}
    viewer.close()
    assert "fails: no circuit" == verdicts["circuits-nothing"]
    assert "2 of 2 short tests" == verdicts["circuits-planted"]


def test_explanations() -> None:
    """Explanations are read from a mapping or from rows; what cannot be read says nothing."""
    for found in ({"nodes": {"a": {"text": "x"}}}, {"a": "x"}, [{"node": "a", "text": "x"}, 3]):
        said = meanings(found)
        assert ["a"] == list(said)
        assert ("x", "x", True) == (said["a"].text, said["a"].label, said["a"].good)
    assert {} == meanings(None)
    assert {} == meanings([{"node": "a", "sentence": "x", "f1": "high"}])
    row = {"node": "a", "sentence": "x", "explanation": "in_string", "why_not": "too bad"}
    bad = meanings({"nodes": [row | {"card": {"described": False}}]})["a"]
    assert (False, "", "", "too bad") == (bad.good, bad.text, bad.predicate, bad.why_not)


def test_verification_of_the_suite(folder: Path) -> None:
    """The whole suite's file: its verdict and number of tests in the list, its tests in full."""
    place = folder / "circuits" / "planted" / "verification.json"
    test = {"name": "complement.worst", "value": 0.4, "low": 0.3, "high": 0.5, "n": 64}
    test |= {"unit": "nats", "threshold": 0.347, "at_most": True, "control": 2.0, "passed": None}
    test |= {"control_name": "without the circuit", "meaning": "the worst subset"}
    told = micro.SHORT_TEST | {"tests": [test], "left_out": []}
    told |= {"verdict": "unresolved: complement.worst"}
    viewer = Viewer(folder)
    place.write_text(json.dumps(told))
    rows = {row["id"]: row for row in home(viewer)["circuits"]}
    answer = json.loads(replies.circuit_json(viewer, "circuits-planted"))
    viewer.close()
    shown = rows["circuits-planted"]
    assert (told["verdict"], 1) == (shown["verdict"], shown["tests"])
    assert None is rows["circuits-path_a"]["tests"]
    assert (told["verdict"], [test]) == (answer["verdict"], answer["verification"]["tests"])


def test_certificate(folder: Path) -> None:
    """A certificate's slack stands at its nodes and edges, and what it says as a whole."""
    proof = {"target_loss": 0.05, "loss": 0.02, "pairs": 24, "minimal": True}
    proof["nodes"] = {"0.attn_v.0": {"loss_without": 0.15, "slack": 0.1}}
    proof["edges"] = {"0.attn_v:1->0": {"loss_without": 0.09, "slack": 0.04}}
    (folder / "circuits" / "planted" / "certificate.json").write_text(json.dumps(proof))
    viewer = Viewer(folder)
    answer = json.loads(replies.circuit_json(viewer, "circuits-planted"))
    viewer.close()
    slack = {node["id"]: node["slack"] for node in answer["nodes"]}
    assert (0.1, None) == (slack["0.attn_v.0"], slack["0.attn_v.16"])
    assert [0.04] == [one for one in answer["edges"]["slack"] if one is not None]
    assert (True, 24) == (answer["certificate"]["minimal"], answer["certificate"]["pairs"])


def test_circuits_that_ship_are_rows_to_look_at(folder: Path, here: Any) -> None:
    """They are listed apart and open; what would be written beside them is refused in one line."""
    name = "builtin-taught-tiny-while_return_true"
    files = sorted(folder_of("builtin:taught-tiny/while_return_true").iterdir())
    with here(folder) as live, live.client() as client:
        found = client.get("/api/home").json()
        rows = {row["id"]: row for row in found["shipped"]}
        assert rows.keys() >= {name, f"{name}-robust"}
        assert rows.keys().isdisjoint(row["id"] for row in found["circuits"])
        assert rows[name]["model_name"] == "builtin:taught-tiny"
        assert rows[name]["verdict"]
        assert rows[name]["error"] is None
        assert client.get(f"/api/circuits/{name}").json()["nodes"]
        note = {"on": "circuit", "text": "mine"}
        for answer in (
            client.put(f"/api/circuits/{name}/annotations/a", json=note),
            client.post(f"/api/circuits/{name}/verify", json={}),
        ):
            assert 400 <= answer.status_code < 500, answer.text
            assert "part of lacewing" in answer.text
            assert "--output" in answer.text
    assert files == sorted(folder_of("builtin:taught-tiny/while_return_true").iterdir())
    assert json.loads(replies.home_json(Viewer(folder), writable=False))["shipped"] == []
