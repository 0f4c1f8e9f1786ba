"""Traces over HTTP: what the server says of a typed prompt, against the package asked directly."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lacewing.errors import DataError, LacewingError
from lacewing.model.hooks import record
from lacewing.model.store import load
from lacewing.trace.switched import next_logits, switch_of
from lacewing.trace.trace import prompt_ids, trace
from lacewing.viewer.answers import AskNear, AskSwitched, AskTrace
from lacewing.viewer.exports.rules import problems
from lacewing.viewer.state import MissingError, Viewer
from lacewing.viewer.tracing import Tracing
from lacewing.viewer.turns import Background, BusyError, CancelledError, Work

PROMPT = {"text": "Xkfm=", "answer": "P", "rival": "Q"}
GPT2 = Path(__file__).parents[1] / "model" / "gpt2"
BASE = "/api/models/micro"


def ready(client: Any, body: dict[str, Any], base: str = BASE) -> Any:
    """A trace once it is computed."""
    for _ in range(600):
        answer = client.post(f"{base}/trace", json=body)
        assert 200 == answer.status_code, answer.text
        if answer.json()["state"] != "computing":
            return answer.json()
        time.sleep(0.1)
    raise AssertionError("no trace in a minute")


def refusal(client: Any, body: dict[str, Any], base: str = BASE) -> str:
    """Why there is no trace: one line."""
    for _ in range(600):
        answer = client.post(f"{base}/trace", json=body)
        if answer.status_code != 200:
            said = str(answer.json()["error"]["message"])
            assert "\n" not in said
            return f"{answer.status_code} {said}"
        assert answer.json()["state"] == "computing"
        time.sleep(0.1)
    raise AssertionError("no refusal in a minute")


def test_trace(live: Any, made: Path) -> None:
    """Nodes, edges and sums of the package's trace; what a circuit holds leads to it."""
    with live.client() as client:
        found = ready(client, PROMPT)
        models = client.get("/api/traceable").json()["models"]
    assert {"micro", "busy", "builtin-taught-sparse"} <= {m["id"] for m in models}
    exact = trace(load(made / "micro"), "Xkfm=", "P", "Q")
    assert found["difference"] == pytest.approx(exact.graph.difference, abs=1e-4)
    assert found["kept"] == len(exact.graph.nodes) == len(found["nodes"])
    first = exact.graph.nodes[0]
    assert f"{first.key}.{first.channel}" == found["nodes"][0]["node"]
    assert ("P", list("Xkfm=")) == (found["top"][0]["text"], found["tokens"])
    given = dict.fromkeys((f"{n['node']}@{n['token']}" for n in found["nodes"]), 0.0)
    for target, weight in zip(found["edges"]["target"], found["edges"]["weight"], strict=True):
        given[target] = given.get(target, 0.0) + weight
    for node in found["nodes"]:
        total = given[f"{node['node']}@{node['token']}"] + node["rest"]
        assert total == pytest.approx(node["effect"], abs=1e-4)
    assert "circuits-planted" in found["circuits"]["0.attn_out.4"]


def test_fewer_nodes_still_add_up(
    made: Path, opened: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left out goes into the rest of what is sent."""
    monkeypatch.setattr("lacewing.viewer.tracing.SENT", 3)
    tracing = Tracing(opened)
    found = waited(tracing, "micro", AskTrace(text="Ykfm=", answer="Q", rival="P"))
    tracing.close()
    assert (3, 3) == (len(found["nodes"]), len(found["means"]))
    assert found["kept"] > 3
    given: dict[str, float] = {}
    for target, weight in zip(found["edges"]["target"], found["edges"]["weight"], strict=True):
        given[target] = given.get(target, 0.0) + weight
    for node in found["nodes"]:
        total = given.get(f"{node['node']}@{node['token']}", 0.0) + node["rest"]
        assert total == pytest.approx(node["effect"], abs=1e-4)


def test_the_graph_that_others_read(live: Any, made: Path) -> None:
    """What the page saves is what the command line writes, of the nodes that were sent."""
    with live.client() as client:
        ready(client, PROMPT)
        found = client.post(f"{BASE}/trace/graph", json=PROMPT).json()["graph"]
    assert problems(found) == []
    exact = trace(load(made / "micro"), "Xkfm=", "P", "Q")
    kept = [n for n in found["nodes"] if "sparse" in n]
    assert len(kept) == len(exact.graph.nodes)
    (logit,) = (n["node_id"] for n in found["nodes"] if n["is_target_logit"])
    into = sum(link["weight"] for link in found["links"] if link["target"] == logit)
    assert into == pytest.approx(exact.graph.difference, abs=1e-4)


def polled(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """An answer once it is ready, asked without a server."""
    for _ in range(1200):
        answer = ask()
        if answer["state"] == "ready":
            return answer
        time.sleep(0.05)
    raise AssertionError("no answer in a minute")


def waited(tracing: Tracing, id: str, asked: AskTrace) -> dict[str, Any]:
    """A trace."""
    return polled(lambda: tracing.trace(id, asked))


def text_of(tracing: Tracing, id: str, node: str) -> dict[str, Any]:
    """Where in text a node acts."""
    return polled(lambda: tracing.texts(id, node))


def test_switched(live: Any, made: Path) -> None:
    """The difference with a node off is that of the model; it goes on with other words."""
    model = load(made / "micro")
    tokens = prompt_ids(model, "Xkfm=")
    p, q = (model.tokenizer.single(end) for end in "PQ")
    body = {"text": "Xkfm=", "answer": p, "rival": q, "tokens": 1}
    held = [{"node": "0.attn_v.0@0"}, {"node": "resid_final.7", "value": -20.0}]
    with live.client() as client:
        found = client.post(f"{BASE}/switched", json=body | {"held": held}).json()
        same = client.post(f"{BASE}/switched", json=body).json()
    switches = [switch_of(model, tokens, one["node"], one.get("value")) for one in held]
    logits = next_logits(model, tokens, switches)
    expected = float(logits[p] - logits[q])
    assert found["now"]["difference"] == pytest.approx(expected, abs=1e-4)
    assert found["before"]["difference"] > 0 > found["now"]["difference"]
    assert ("P", "Q") == (found["before"]["text"], found["now"]["text"])
    assert same["now"] == same["before"]


def test_near(live: Any) -> None:
    """What drives a node, what it drives, the tokens it reads, its head, the circuits it is in."""
    with live.client() as client:
        ends = ready(client, PROMPT)["ids"]
        body = {"text": "Xkfm=", **ends, "node": "0.attn_v.0@0"}
        found = client.post(f"{BASE}/near", json=body).json()
    assert ("0.attn_in.1", 0) == (found["drives"][0]["node"], found["drives"][0]["token"])
    assert "0.attn_out.4" in [n["node"] for n in found["driven"]]
    assert found["effect"] > 1
    assert "X" == found["weights"]["reads"]["positive"][0]["text"]
    assert ((0, 0), 0) == (
        (found["looks"][0]["layer"], found["looks"][0]["head"]),
        found["looks"][0]["key"],
    )
    assert {"circuits-planted", "circuits-path_a"} == set(found["circuits"])


def test_one_line_for_what_cannot_be_traced(live: Any) -> None:
    """Empty, too long, answers of several tokens, no such model, no such node, odd values."""
    with live.client() as client:
        assert "the prompt is empty" in refusal(client, {"text": ""})
        assert "17 tokens; this model takes 1 to 16" in refusal(client, {"text": "X" * 17})
        assert "'PQ' is 2 tokens" in refusal(client, PROMPT | {"answer": "PQ"})
        same = refusal(client, PROMPT | {"answer": "P", "rival": "P"})
        assert "same logit" in same
        assert "--" not in same
        assert refusal(client, PROMPT, "/api/models/nothing").startswith("404 there is no such")
        assert "no token 9999" in refusal(client, PROMPT | {"answer": 9999})
        half = b'{"text": "\\ud800"}'
        headers = {"Content-Type": "application/json"}
        answer = client.post(f"{BASE}/trace", content=half, headers=headers)
        for _ in range(100):
            if answer.status_code != 200:
                break
            time.sleep(0.1)
            answer = client.post(f"{BASE}/trace", content=half, headers=headers)
        assert 422 == answer.status_code
        body = {"text": "Xk=", "answer": 1, "rival": 2}
        for held, said in (
            ([{"node": "0.attn_v.9999"}], "is no node"),
            ([{"node": "0.attn_v.0@3"}], "from 0 to 2"),
            ([{"node": "resid_final.0", "value": 1e7}], "less than or equal to"),
            ([{"node": "0.attn_v.0"}] * 2001, "at most 2000"),
        ):
            answer = client.post(f"{BASE}/switched", json=body | {"held": held})
            assert (422, True) == (answer.status_code, said in answer.text), answer.text
        for route, more in (
            ("trace", {"text": "x" * 4001}),
            ("trace", {"share": 0}),
            ("trace", {"shown": 1}),
            ("trace", {"partner": "x" * 4001}),
            ("trace/cancel", {"find_partner": "perhaps"}),
            ("switched", {"tokens": 65}),
            ("near", {"node": "0.attn_v.0" * 9}),
        ):
            answer = client.post(f"{BASE}/{route}", json=body | more)
            assert 422 == answer.status_code, (route, more)


def test_a_crowd_is_told_to_come_again(opened: Viewer) -> None:
    """Of many traces that nobody waits for a few are kept; the others are refused, not queued."""
    tracing = Tracing(opened)
    with tracing.turns.person():
        for number in range(8):
            asked = AskTrace(text=f"X{number}=")
            assert tracing.trace("micro", asked)["state"] == "computing"
        with pytest.raises(BusyError, match="try again"):
            tracing.trace("micro", AskTrace(text="Xlast="))
        assert tracing.trace("micro", AskTrace(text="X7="))["state"] == "computing"
    tracing.close()


def test_a_partner_and_hints(live: Any) -> None:
    """Nodes say what their values on the partner take away; unexplained ones bear hints."""
    with live.client() as client:
        found = ready(client, PROMPT | {"partner": "Ykfm="})
        sought = ready(client, {**PROMPT, "text": "kXfm=", "find_partner": True})
        plain = ready(client, PROMPT)
        assert "equally long" in refusal(client, PROMPT | {"partner": "Y"})
        assert "name a partner" in refusal(client, {"text": "X", "find_partner": True})
    assert (False, [0]) == (found["partner"]["found"], found["partner"]["changed"])
    assert found["partner"]["difference"] < 0 < found["difference"]
    carried = {f"{n['node']}@{n['token']}": n for n in found["nodes"]}
    assert carried["0.attn_v.0@0"]["interchange"] > 1
    assert (True, 1) == (sought["partner"]["found"], len(sought["partner"]["changed"]))
    assert plain["partner"] is None
    assert "interchange" not in plain["nodes"][0]
    value = plain["hints"]["0.attn_v.0@0"]
    assert (0, True) == (value["from"][0]["token"], value["from"][0]["share"] > 0.5)
    labelled = {n["label_by"] for n in plain["nodes"] if "label_by" in n}
    assert "hint" in labelled
    ids = set(carried)
    assert all(set(group["members"]) <= ids for group in plain["groups"])


def test_cancelled(opened: Viewer) -> None:
    """What nobody wants any more ends at its next step, makes room, and can be asked for again."""
    tracing = Tracing(opened)
    asked = AskTrace(text="Xkfm=", answer="P", rival="Q")
    with tracing.turns.person():
        first = tracing.trace("micro", asked)
        assert "computing" == first["state"]
        assert {"cancelled": True} == tracing.cancel("micro", asked)
        assert {"cancelled": False} == tracing.cancel("micro", asked)
        for number in range(8):
            assert "computing" == tracing.trace("micro", AskTrace(text=f"X{number}="))["state"]
        for number in range(8):
            tracing.cancel("micro", AskTrace(text=f"X{number}="))
    assert waited(tracing, "micro", asked)["nodes"]
    assert {"cancelled": False} == tracing.cancel("micro", asked)
    with pytest.raises(MissingError):
        tracing.cancel("..", asked)
    tracing.close()


def test_a_cancelled_work_does_not_run() -> None:
    """One that waits is never begun; one that runs is ended where it next tells how far it is."""
    background, seen = Background(), threading.Event()
    go_on, ran = threading.Event(), []

    def long(work: Work) -> None:
        work.tell("first", 0, 2)
        seen.set()
        assert go_on.wait(10)
        work.tell("second", 1, 2)
        ran.append("long")

    first = background.get("long", long)
    assert seen.wait(10)
    waiting = background.get("short", lambda work: ran.append("short"))
    assert background.cancel("long")
    assert background.cancel("short")
    go_on.set()
    last = background.get("last", lambda work: ran.append("last"))
    for _ in range(200):
        if last.state == "ready":
            break
        time.sleep(0.02)
    assert ["last"] == ran
    for work in (first, waiting):
        assert isinstance(work.problem, CancelledError)
    background.stop()


def test_another_site_traces_nothing(live: Any) -> None:
    """The guard stands before these addresses too."""
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        with live.client(headers=headers) as client:
            for route in ("trace", "trace/cancel", "switched", "near"):
                assert 403 == client.post(f"{BASE}/{route}", json=PROMPT).status_code
            assert 403 == client.get("/api/traceable").status_code
    with live.client() as client:
        assert 415 == client.post(f"{BASE}/trace", data=PROMPT).status_code


@pytest.fixture(scope="module")
def others(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracing]:
    """A viewer that was started with a model of transformers, and with one that is not there."""
    pytest.importorskip("transformers")
    place = shutil.copytree(GPT2, tmp_path_factory.mktemp("open") / "gpt2")
    viewer = Viewer(made, models=(f"hf:{place}", "hf:/nowhere/at-all"))
    tracing = Tracing(viewer)
    yield tracing
    tracing.close()
    viewer.close()


def test_models_of_others(others: Tracing) -> None:
    """They stand first, and are traced, switched off and looked around in like ours."""
    first = others.listed()["models"][0]
    assert (first["ours"], first["name"].startswith("hf:")) == (False, True)
    text = "def f(x):\n    try:\n        return x\n    except"
    found = waited(others, first["id"], AskTrace(text=text))
    assert "sources" not in found
    assert found["nodes"]
    assert "<|endoftext|>" == found["tokens"][0]
    assert found["lens"][-1]["difference"] == pytest.approx(found["difference"], abs=1e-3)
    node = found["nodes"][0]
    ends = {"text": text, **found["ids"]}
    name = f"{node['node']}@{node['token']}"
    near = others.near(first["id"], AskNear(**ends, node=name))
    assert near["weights"] is None
    assert near["drives"]
    off = others.switched(first["id"], AskSwitched(**ends, held=[{"node": name}], tokens=3))
    taken = off["before"]["difference"] - off["now"]["difference"]
    assert taken == pytest.approx(near["effect"], abs=1e-3)
    assert isinstance(off["now"]["text"], str)
    with pytest.raises(DataError, match="a number from 1 to"):
        others.near(first["id"], AskNear(**ends, node=f"{node['node']}@0"))
    read = text_of(others, first["id"], node["node"])
    assert {"top", "bottom"} <= {group["name"] for group in read["groups"]}
    assert read["tokens"] > 500


def test_where_in_text_any_node_acts(opened: Viewer) -> None:
    """Values are the model's own; a node that is not there is refused."""
    tracing = Tracing(opened)
    try:
        read = text_of(tracing, "builtin-taught-sparse", "0.attn_out.6")
        with pytest.raises(DataError, match="no node of"):
            tracing.texts("builtin-taught-sparse", "0.mlp_neuron.99999")
    finally:
        tracing.close()
    (top,) = (group for group in read["groups"] if group["name"] == "top")
    values = [example["values"][example["at"]] for example in top["examples"]]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(read["maximum"], abs=1e-3)
    model, first = load("builtin:taught-sparse"), top["examples"][0]
    ids = {model.tokenizer.token(i): i for i in range(model.network.config.vocab_size)}
    tokens = torch.tensor([[ids[text] for text in first["tokens"]]])
    with torch.inference_mode(), record(model.network, ["0.attn_out"]) as seen:
        model.network(tokens)
    own = seen["0.attn_out"][0, :, 6].tolist()
    assert own == pytest.approx(first["values"], abs=5e-3)


def test_a_model_that_is_not_there(others: Tracing) -> None:
    """Is one line where it is asked for, and hides no other."""
    missing = others.listed()["models"][1]["id"]
    with pytest.raises(LacewingError, match="no folder '/nowhere/at-all'"):
        waited(others, missing, AskTrace(text="x"))
    with pytest.raises(MissingError):
        others.trace("..", AskTrace(text="x"))
