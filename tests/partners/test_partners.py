"""One task in four forms, where the answer is known: the micro model and its rotated partner."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from recipes.partners import Recipe

import micro
from bridges.rotated import exact, rotated
from lacewing import artifacts
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_loss
from lacewing.bridges import folder as bridges
from lacewing.bridges import transfer
from lacewing.bridges.transfer import Transfer
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.config import PruneConfig
from lacewing.cli import app
from lacewing.errors import ArtifactError, ConfigError, LacewingError
from lacewing.model.store import load
from lacewing.partners.cells import Cell, How, Partners
from lacewing.partners.run import partners
from lacewing.sae import folder as saes
from lacewing.sae.autoencoder import Autoencoder
from lacewing.sae.figures import Figure
from lacewing.statistics import pair_means
from lacewing.tasks.batch import encode
from lacewing.verification.random_circuits import CONTROL_PAIRS, random_nodes
from lacewing.verification.short import losses_of

NO_EDGES = {"sparse": False, "dense": False, "latents": True, "bridged": True}
FEW = {"target_loss": micro.TARGET, "prompts": 1024, "batch": 16, "calibrate": False}
FEW |= {"train_pairs": 64, "validation_pairs": 32, "test_pairs": 32}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both models, exact bridges between them, the dense one's channels as latents, and a task."""
    root = tmp_path_factory.mktemp("partners")
    sparse = micro.micro()
    coupling = exact(sparse, rotated(sparse))
    micro.write_run(sparse, root / "sparse")
    micro.write_run(coupling.dense, root / "dense")
    one, other = load(root / "dense"), load(root / "sparse")
    facts = dataclasses.replace(
        coupling.facts, dense=bridges.of(root / "b", one), sparse=bridges.of(root / "b", other)
    )
    bridges.write(root / "b", facts, coupling.bridges, coupling.norms)
    found = []
    for site in ("0.attn_in", "0.mlp_in", "resid_final"):
        width = len(one.means[site])
        rows = torch.eye(width)
        none = torch.zeros(width)
        bias = torch.zeros(width)
        found.append(Autoencoder(site, site, "abstopk", width, rows, bias, rows, none, none))
    means = {sae.site: one.means[sae.site] for sae in found}
    saes.save(root / "saes", one, found, means, corpus="standard_library")
    micro.write_pairs(root / "letters.jsonl")
    micro.write_letters(root / "text")
    return root


def found(place: Path, minutes: float | None = None, **changes: object) -> Partners:
    """The comparison, all four forms."""
    how = How(PruneConfig(**(FEW | changes)), str(place / "text"), quick=True, quiet=True)
    return partners(
        load(place / "sparse"),
        load(place / "dense"),
        [str(place / "letters.jsonl")],
        place / "out",
        how,
        latents=place / "saes",
        coupling=bridges.read(place / "b"),
        minutes=minutes,
    )


def test_nothing_is_there_at_first(place: Path) -> None:
    """Without a minute to work, every cell is told as unfinished, and nothing is pruned."""
    early = found(place, minutes=0.0)
    assert {cell.form for cell in early.cells} == {*NO_EDGES}
    assert {cell.state for cell in early.cells} == {"unfinished"}
    assert early.ratio("dense") is None
    assert not (place / "out" / "cells").exists()


def test_every_form_has_its_circuit(place: Path) -> None:
    """Through exact bridges, the nodes of the sparse circuit are those of the dense model too."""
    cells = {cell.form: cell for cell in found(place).cells}
    assert {cell.state for cell in cells.values()} == {"found"}, cells
    sparse, bridged = cells["sparse"], cells["bridged"]
    assert sparse.verdict == "2 of 2 short tests"
    assert {form: cell.edges is None for form, cell in cells.items()} == NO_EDGES
    read = sum(map(len, (micro.PLANTED[k] for k in ("0.attn_in", "0.mlp_in", "resid_final"))))
    assert sparse.shared == read
    assert bridged.nodes <= read + 1
    assert bridged.errors == 0
    assert cells["dense"].nodes > sparse.nodes
    assert cells["latents"].nodes > bridged.nodes
    for cell in cells.values():
        assert cell.interval[0] <= cell.loss <= cell.interval[1]
        assert cell.without is not None
        assert cell.without_interval[0] <= cell.without <= cell.without_interval[1]
        proof = json.loads((place / "out" / cell.folder / "verification.json").read_text())
        assert cell.without == proof["necessary"]["loss"]
        for pair, test, end in (
            (cell.removed, proof["necessary"], "highest"),
            (cell.alone, proof["sufficient"], "lowest"),
        ):
            assert test["random"]["count"] == 20
            assert pair == (test["random"]["mean"], test["random"][end])
        assert {*cell.tests} == {"sufficient", "necessary"}
    assert isinstance(bridged.decoded, Transfer)
    assert bridged.decoded.nodes == sparse.shared
    assert bridged.decoded.necessary.verdict


def test_a_finished_cell_is_read_again(place: Path) -> None:
    """Nothing is done twice; a lost cell comes back the same; other settings are refused."""
    before = found(place)
    files = sorted((place / "out").rglob("*.safetensors"))
    times = [path.stat().st_mtime_ns for path in files]
    lost = next((place / "out" / "cells").glob("latents-*"))
    lost.unlink()
    lost.symlink_to(place / "nowhere")
    with pytest.raises(ArtifactError, match="latents-letters-0"):
        found(place, minutes=0.0)
    lost.unlink()
    again = found(place, minutes=0.0)
    assert [c.form for c in again.cells if c.state == "unfinished"] == ["latents"]
    after = found(place)
    assert times == [path.stat().st_mtime_ns for path in files]

    def plain(cells: list[Cell]) -> list[Cell]:
        return [dataclasses.replace(cell, seconds=0.0) for cell in cells]

    assert plain(after.cells) == plain(before.cells)
    with pytest.raises(ConfigError, match="prompts 1024, this one has 512"):
        found(place, prompts=512)


def test_necessity_is_measured_in_every_form(place: Path) -> None:
    """Without a form's own nodes its whole model loses the task; without random ones it does not.

    Measured again here from the saved circuits: of the dense neurons, the latents, what bridges
    say, and the weight-sparse model.
    """
    models = {
        "sparse": str(place / "sparse"),
        "dense": str(place / "dense"),
        "latents": f"sae:{place / 'saes'}",
        "bridged": f"sae:{place / 'out' / 'bridge-latents'}",
    }
    for cell in found(place).cells:
        model, circuit = load(models[cell.form]), Circuit.load(place / "out" / cell.folder)
        prompts = encode(circuit.pairs, model.tokenizer, model.network.config.context)
        full = pair_means(ablated_loss(model, prompts, None)).mean()
        masks = masks_of(model.network, circuit.nodes, complement=True)
        lost = pair_means(ablated_loss(model, prompts, masks, circuit.ablation)).mean()
        assert cell.full == pytest.approx(float(full), abs=1e-4)
        assert cell.without == pytest.approx(float(lost), abs=1e-4)
        drawn = random_nodes(model, circuit, 0, 20)
        few = prompts.first(CONTROL_PAIRS)
        losses = [
            float(losses_of(model, circuit, few, nodes, complement=True).mean()) for nodes in drawn
        ]
        assert cell.removed is not None
        assert cell.removed == pytest.approx((sum(losses) / 20, max(losses)), abs=1e-4)
        assert cell.without > cell.removed[1] > cell.full - 0.01


def test_a_cell_without_random_nodes_takes_them_from_its_verification(place: Path) -> None:
    """Cells of before are read on, their controls from beside their circuits."""
    before = found(place).cells
    for file in (place / "out" / "cells").iterdir():
        whole = artifacts.read_summed(file)
        for name in ("removed", "alone"):
            del whole["cell"][name]
        artifacts.write_summed(file, whole)
    assert found(place, minutes=0.0).cells == before
    (proof,) = (place / "out").glob("latents/*/verification.json")
    kept = proof.read_bytes()
    proof.unlink()
    cells = {cell.form: cell for cell in found(place, minutes=0.0).cells}
    assert cells["latents"].removed is None
    assert cells["dense"].removed is not None
    proof.write_bytes(kept)


def test_a_cell_without_necessity_is_refused(place: Path) -> None:
    """One that an earlier lacewing made, in one line."""
    found(place)
    (file,) = (place / "out" / "cells").glob("sparse-*")
    before = file.read_bytes()
    whole = artifacts.read_summed(file)
    for name in ("without", "without_interval"):
        del whole["cell"][name]
    artifacts.write_summed(file, whole)
    with pytest.raises(ConfigError, match=r"sparse-letters-0.*no loss without.*another --output"):
        found(place, minutes=0.0)
    file.write_bytes(before)


def test_what_does_not_belong_together_is_refused(place: Path, tmp_path: Path) -> None:
    """Autoencoders and bridges of another dense model."""
    sparse, how = load(place / "sparse"), How(quiet=True)
    task = [str(place / "letters.jsonl")]
    with pytest.raises(LacewingError, match=r"autoencoders in .* are of model"):
        partners(sparse, sparse, task, tmp_path / "o", how, latents=place / "saes")
    coupling = bridges.read(place / "b")
    with pytest.raises(LacewingError, match=r"bridges are from .* train bridges for this one"):
        partners(sparse, sparse, task, tmp_path / "o", how, coupling=coupling)


def test_a_task_that_is_not_learned_says_so(place: Path, tmp_path: Path) -> None:
    """A cell without a circuit is finished too, with its reason."""
    how = How(PruneConfig(**(FEW | {"target_loss": 0.0001})), quick=True, quiet=True)
    task = str(place / "letters.jsonl")
    sparse, dense = load(place / "sparse"), load(place / "dense")
    (one, other) = partners(sparse, dense, [task], tmp_path / "o", how).cells
    assert one.state == other.state == "none"
    assert "has not learned this task" in one.reason
    assert len(list((tmp_path / "o" / "cells").iterdir())) == 2


def test_a_cell_is_checked_whole_before_it_is_printed() -> None:
    """What the bridge makes of a circuit is typed too: an interval has two ends."""
    figure = Figure(0.1, (0.0, 0.2))
    asked = transfer.Test(figure, figure, figure, figure, figure, verdict=True)
    moved = Transfer("t", 1, 0, {"0.attn_in": 1}, figure, asked, asked, (0.15, 0.347), 4, 1, 0)
    for decoded in (moved, "no node crosses a bridge", None):
        cell = Cell("bridged", "t", 0, "found", decoded=decoded)
        assert artifacts.typed(dataclasses.asdict(cell), Cell, "cell") == cell
    plain = dataclasses.asdict(Cell("bridged", "t", 0, "found", decoded=moved))
    plain["decoded"]["necessary"]["loss"]["interval"] = [0.0, 0.1, 0.2]
    with pytest.raises(ArtifactError, match=r"necessary\.loss\.interval.* at most 2"):
        artifacts.typed(plain, Cell, "cell")


def test_the_ratio_counts_tasks_that_both_do() -> None:
    """By hand: 12 / 3 and 40 / 10; the third task is not finished."""
    counts = {"a": (3, 12), "b": (10, 40), "c": (5, None)}
    cells = []
    for task, (few, many) in counts.items():
        cells.append(Cell("sparse", task, 0, "found", nodes=few, edges=1))
        state = "unfinished" if many is None else "found"
        cells.append(Cell("latents", task, 0, state, nodes=many or 0))
    ratio = Partners({}, 0.15, ("a", "b", "c"), (0,), cells).ratio("latents")
    assert ratio is not None
    assert ratio["ratio"] == pytest.approx(4)
    assert ratio["interval"] == pytest.approx([4, 4])
    assert ratio["form"] == pytest.approx(480**0.5)
    assert ratio["tasks"] == 2


def test_the_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lacewing compare` prints every form, and the flags alone are refused."""
    words = ["compare", "--sparse", str(place / "sparse"), "--dense", str(place / "dense")]
    words += ["--task", str(place / "letters.jsonl"), "--output", str(place / "out")]
    with pytest.raises(SystemExit, match="2"):
        app.main([*words, "--minutes", "0"])
    assert "are for --sae or --bridge" in capsys.readouterr().err
    words += ["--sae", str(place / "saes"), "--bridge", str(place / "b"), "--quick"]
    words += ["--corpus", str(place / "text"), "--no-calibrate", "--minutes", "0"]
    for name, value in FEW.items():
        words += [] if name == "calibrate" else [f"--{name.replace('_', '-')}", str(value)]
    found(place)
    app.main(words)
    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "dense neurons",
        "dense + SAE latents",
        "dense + bridge",
        "weight-sparse",
        "ratio",
        "without it [95 %]",
        "without random",
        "random alone",
    ):
        assert part in shown
    assert "decoded into the dense model" in shown
    app.main([*words, "--json", "--seeds", "0", "1"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {c["state"] for c in told["cells"] if c["seed"] == 1} == {"unfinished"}


def test_the_recipe(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bridges on windows as long as both models read, autoencoders beside them, and the table."""
    recipe = Recipe(
        sparse=str(place / "sparse"),
        dense=str(place / "dense"),
        output=place / "recipe",
        corpus=str(place / "text"),
        tasks=(str(place / "letters.jsonl"),),
        tokens=16 * 16 * 2,
        held_out=256,
        k=4,
        minutes=0.0,
        quick=True,
        pruning=PruneConfig(**FEW),
    )
    recipe.run()
    assert "unfinished" in capsys.readouterr().out
    facts = bridges.read(place / "recipe" / "bridge").facts
    assert (facts.steps, facts.tokens) == (2, 512)  # 16 windows of 16 tokens
    assert facts.figures["windows"] == 256 // 16
    sites = ["0.attn_in", "0.mlp_in", "resid_final"]
    learned = saes.read(place / "recipe" / "sae", load(place / "dense"))
    assert [sae.site for sae in learned.saes] == sites
