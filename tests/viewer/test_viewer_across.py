"""Steering across a bridge: what the server says, against the package asked directly."""

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

import micro
from bridges.rotated import exact, rotated
from lacewing.bridges import folder as bridges
from lacewing.bridges.steer import STRENGTHS, steer
from lacewing.errors import DataError, MismatchError
from lacewing.model.store import load
from lacewing.viewer import across
from lacewing.viewer.state import MissingError, Viewer

PLANTED, NODE = "circuits-planted", "0.attn_in.1"


@pytest.fixture(scope="module")
def bridged(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs and circuits, with a dense run and bridges to it."""
    root = tmp_path_factory.mktemp("across") / "work"
    shutil.copytree(made, root)
    sparse = load(root / "micro")
    coupling = exact(sparse, rotated(sparse))
    micro.write_run(coupling.dense, root / "rotated")
    facts = dataclasses.replace(
        coupling.facts,
        dense=bridges.of(root / "bridge", load(root / "rotated")),
        sparse=bridges.of(root / "bridge", sparse),
    )
    bridges.write(root / "bridge", facts, coupling.bridges, coupling.norms)
    return root


@pytest.fixture(scope="module")
def viewer(bridged: Path) -> Any:
    """It, opened without a server."""
    viewer = Viewer(bridged)
    yield viewer
    viewer.close()


def curve(viewer: Viewer, node: str, bridge: str = "bridge") -> dict[str, Any]:
    """A curve once it is measured."""
    for _ in range(1800):
        found = across.steered(viewer, PLANTED, bridge, node)
        if found["state"] != "computing":
            return found
        time.sleep(0.1)
    raise AssertionError("no curve in three minutes")


def test_which_nodes_cross(viewer: Viewer) -> None:
    """Those that a sublayer reads; circuits of other models have no bridge."""
    (row,) = across.listed(viewer, PLANTED)["bridges"]
    assert (row["id"], row["dense"]) == ("bridge", "rotated")
    read = ("0.attn_in", "0.mlp_in", "resid_final")
    assert row["nodes"] == [f"{key}.{c}" for key in read for c in micro.PLANTED[key]]
    assert across.listed(viewer, "circuits-random") == {"bridges": []}


def test_the_curve_is_that_of_steer(viewer: Viewer, bridged: Path) -> None:
    """Strength by strength, with the same random directions."""
    found = curve(viewer, NODE)
    assert (found["state"], found["done"], found["dense"]) == ("ready", len(STRENGTHS), "rotated")
    coupling = bridges.read(bridged / "bridge")
    prompts = viewer.session(PLANTED).prompts.first(across.PAIRS)
    direct = steer(coupling, NODE, prompts, randoms=across.RANDOMS, quiet=True).as_json()
    assert found["curve"] == direct["curve"]
    assert found["whole"] == direct["whole"]
    first, *others = (point["share"]["value"] for point in found["curve"])
    assert max(others) > 0.6 > 0.1 > first


def test_what_cannot_be_steered(viewer: Viewer) -> None:
    """No such bridge, a node that does not cross, a circuit of another model."""
    with pytest.raises(MissingError, match="no such bridge"):
        across.steered(viewer, PLANTED, "nothing", NODE)
    with pytest.raises(DataError, match=r"none of the circuit's nodes that cross .*0\.attn_in\.1"):
        across.steered(viewer, PLANTED, "bridge", "0.mlp_neuron.0")
    with pytest.raises(MissingError, match="no such bridge"):
        across.steered(viewer, "circuits-random", "bridge", NODE)


def test_a_dense_model_that_is_not_served(bridged: Path, tmp_path: Path) -> None:
    """The bridge says so, and no path out of the folder is followed for it."""
    root = tmp_path / "work"
    shutil.copytree(bridged, root)
    shutil.rmtree(root / "rotated")
    viewer = Viewer(root)
    try:
        (row,) = across.listed(viewer, PLANTED)["bridges"]
        assert row["nodes"] == []
        assert "not under the served folder" in row["reason"]
        with pytest.raises(MissingError):
            across.steered(viewer, PLANTED, "bridge", NODE)
        with pytest.raises(MismatchError, match="not served"):
            viewer.coupling(viewer.library.contents().bridges["bridge"])
        (root / "bridge" / "bridges.json").write_text("{")
        viewer.library.changed()
        assert across.listed(viewer, PLANTED) == {"bridges": []}
        assert "bridge" in viewer.library.contents().broken
    finally:
        viewer.close()


def test_over_http(bridged: Path, here: Any) -> None:
    """The same answers, and one line for what is wrong; other origins are refused."""
    base = f"/api/circuits/{PLANTED}/bridges"
    with here(bridged) as live, live.client() as client:
        (row,) = client.get(base).json()["bridges"]
        assert NODE in row["nodes"]
        answer = client.get(f"{base}/bridge/{NODE}")
        assert answer.status_code == 200
        assert answer.json()["state"] in ("computing", "ready")
        for path, status in (("/other/0.attn_in.1", 404), ("/bridge/9.x.1", 422)):
            refused = client.get(base + path)
            assert refused.status_code == status
            assert "\n" not in refused.json()["error"]["message"]
        assert client.get(base, headers={"host": "elsewhere.example"}).status_code == 403
        assert client.post(base, json={}).status_code == 405
