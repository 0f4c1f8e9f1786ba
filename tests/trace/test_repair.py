"""A mistake mended: the planted fault is found, kin mended too, and nothing else is touched."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import lacewing
import micro
from lacewing.artifacts import write_json
from lacewing.cli.app import main
from lacewing.errors import ArtifactError, ConfigError, DataError
from lacewing.model.store import Model
from lacewing.trace.aim import aim
from lacewing.trace.candidates import candidates, in_turn
from lacewing.trace.curvature import curvature
from lacewing.trace.elsewhere import difference, material
from lacewing.trace.mended import save
from lacewing.trace.mistakes import of_attack, of_task, wrong
from lacewing.trace.onwards import half_of, keep, onwards
from lacewing.trace.outcome import Kin
from lacewing.trace.passes import maps_of, node_of, watched
from lacewing.trace.repair import Workshop, repair, workshop
from lacewing.trace.tuning import tuned
from lacewing.trace.weight_edits import KINDS, applied
from test_docs import blocks

MISTAKE = Kin("Xkfm=", "P", "Q")


def faulty() -> Model:
    """The model worked out by hand with one weight turned round, so that it errs after X and Y."""
    model = micro.micro()
    with torch.no_grad():
        maps_of(model.ours)["0.attn_proj"].weight[4, 0] = -2.5
    return model


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of letters, and a file of pairs."""
    import random

    folder = tmp_path_factory.mktemp("letters")
    dice = random.Random(0)
    for number in range(60):
        lines = ("".join(dice.choices(micro.LETTERS + "XY=", k=30)) for _ in range(12))
        (folder / f"{number}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def pairs(text: Path) -> str:
    """A task that the model did before it was faulty."""
    return str(micro.write_pairs(text.parent / "letters.jsonl", 40))


@pytest.fixture(scope="module")
def shop(text: Path) -> Workshop:
    """A faulty model with what it is measured on; its one task is not learned."""
    model = faulty()
    found = material(model, str(text), tasks=["for_while"], tokens=3000, pairs=4, quiet=True)
    return workshop(model, found)


def test_what_a_map_writes() -> None:
    """Rows of the joint matrix are nodes of queries, keys and values."""
    network = micro.micro().ours
    names = [node_of(network, "0.c_attn", row) for row in (5, 128, 300)]
    assert names == ["0.attn_q.5", "0.attn_k.0", "0.attn_v.44"]
    assert node_of(network, "0.c_fc", 7) == "0.mlp_neuron.7"


def test_gradients_are_those_of_the_weights() -> None:
    """What is collected at the maps gives the gradient of every weight and bias."""
    network = copy.deepcopy(micro.busy(12).ours)
    tokens = torch.tensor([[3, 7, 5, 9]])
    with watched(network) as seen:
        network(tokens)[0, -1, 4].backward()
    network.requires_grad_()
    network(tokens)[0, -1, 4].backward()
    for name, part in maps_of(network).items():
        grad = seen.at_maps[name].grad
        assert grad is not None
        assert part.weight.grad is not None
        assert part.bias.grad is not None
        torch.testing.assert_close(grad[0].T @ seen.inputs[name][0], part.weight.grad)
        torch.testing.assert_close(grad.sum((0, 1)), part.bias.grad)
    assert float(seen.at_maps["1.c_fc"].grad.abs().max()) > 0  # type: ignore[union-attr]


def test_the_same_edits_whatever_was_drawn_before(shop: Workshop) -> None:
    """To the last bit, and nothing is drawn from the caller's chance."""
    model = shop.model
    ends = [(tuple(model.tokenizer.encode("Xkfm=")), *model.tokenizer.encode("PQ"))]
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        made = candidates(model.ours, ends, 1.0, shop.cost, model.means)
        assert torch.equal(before, torch.get_rng_state())
        found.append([(e.words(1.0), e.damage, e.columns.tolist()) for e in in_turn(made)])
    assert found[0] == found[1]


def test_the_curvature_expects_what_is_measured() -> None:
    """For small changes of a bias, the expected damage is about the divergence it makes."""
    model = micro.micro()
    network, tokens = model.ours, micro._text(model.tokenizer, 0)
    cost = curvature(network, tokens, [])
    for name in ("0.attn_proj", "0.c_fc", "0.mlp_proj"):
        part, expected = maps_of(network)[name], cost.maps[name].bias
        row = int(expected.argmax())
        size = (2e-3 / float(expected[row])) ** 0.5
        with torch.inference_mode():
            old = network(tokens[:, :-1]).log_softmax(2)
        with torch.no_grad():
            part.bias[row] += size
        with torch.inference_mode():
            new = network(tokens[:, :-1]).log_softmax(2)
        with torch.no_grad():
            part.bias[row] -= size
        measured = float((old.exp() * (old - new)).sum(2).mean())
        assert measured == pytest.approx(1e-3, rel=0.3)


def test_running_on_is_running_the_whole() -> None:
    """From any half, with an edit in it: what the edited network gives from the start."""
    network = copy.deepcopy(micro.busy(12).ours)
    tokens, last = torch.tensor([[3, 7, 5, 9], [4, 6, 2, 0]]), torch.tensor([3, 2])
    before = keep(network, tokens), keep(network, tokens, last)
    for name, part in maps_of(network).items():
        kept = part.bias.detach().clone()
        with torch.no_grad():
            part.bias += 0.3
            everywhere, ends = network(tokens), network(tokens, at=last)
        first = half_of(name)
        torch.testing.assert_close(onwards(network, before[0], first), everywhere)
        torch.testing.assert_close(onwards(network, before[1], first), ends)
        if first < 2 * len(network.blocks) - 1:  # begun too late, the edit is not seen
            assert not torch.allclose(onwards(network, before[1], first + 1), ends, atol=1e-5)
        with torch.no_grad():
            part.bias.copy_(kept)


def test_fine_tuning_learns_what_plain_training_does(shop: Workshop) -> None:
    """The rows of the bigram table that are held move as the whole table would."""
    network, ids = shop.model.ours, shop.model.tokenizer.encode("Xkfm=")
    p, q = (shop.model.tokenizer.single(c) or 0 for c in "PQ")
    goal = aim(network, [(tuple(ids), p, q)], 0.2)
    made = tuned(network, goal, ("sgd", 0.01), alone=True)
    assert made.reached
    plain = copy.deepcopy(network)
    parts = {name: part.requires_grad_() for name, part in plain.named_parameters()}
    masks = {name: part != 0 for name, part in parts.items()}
    for _ in range(made.steps):
        loss = torch.nn.functional.cross_entropy(plain(goal.kept.tokens)[:, -1], goal.right)
        found = torch.autograd.grad(loss, list(parts.values()), allow_unused=True)
        with torch.no_grad():
            for (name, part), grad in zip(parts.items(), found, strict=True):
                part -= 0.01 * (0 if grad is None else grad * masks[name])
    whole = {name: parts[name].detach() - part for name, part in network.named_parameters()}
    ours = {
        name: part - network.get_parameter(name) for name, part in made.network.named_parameters()
    }
    largest = max(whole, key=lambda name: float(whole[name].abs().max()))
    share = float((ours[largest] * whole[largest]).sum() / whole[largest].square().sum())
    assert 0 < share <= 1
    for name, change in whole.items():
        torch.testing.assert_close(ours[name], share * change, atol=1e-5, rtol=1e-3)
    tokens = goal.kept.tokens[0].tolist()
    reached = difference(made.network, tokens, p, q)
    assert reached >= 0.2 - 1e-4
    # Its embedding learned as well: what the model's halves began from does not hold for it.
    assert float(goal.differences(made.network)) == pytest.approx(reached, abs=1e-4)
    assert float(goal.differences(made.network, 0)) != pytest.approx(reached, abs=1e-4)


def test_candidates_do_what_they_say(shop: Workshop) -> None:
    """Small edits gain what they should, an edit undone leaves the model to the bit."""
    network = shop.model.ours
    tokens, p, q = (shop.model.tokenizer.encode("Xkfm="), *map(shop.model.tokenizer.single, "PQ"))
    assert p is not None
    assert q is not None
    before = difference(network, tokens, p, q)
    assert before < -0.5
    kept = copy.deepcopy(network.state_dict())
    found = candidates(network, [(tuple(tokens), p, q)], 0.01, shop.cost, shop.model.means)
    assert {kind for kind, edits in found.items() if edits} == set(KINDS)
    for edit in in_turn(found)[:30]:
        if not edit.adjustable:
            continue
        with applied(network, edit, 1.0):
            gained = difference(network, tokens, p, q) - before
        assert gained == pytest.approx(0.01, rel=0.1, abs=1e-4)
    for name, value in network.state_dict().items():
        assert torch.equal(value, kept[name])


def test_the_planted_fault_is_mended(shop: Workshop) -> None:
    """Some edit touches the wrong weight's node; kin are mended with it, and text hardly moves."""
    letters = micro._pairs(20, 3)
    kin = [Kin(p.clean, "P", "Q") for p in letters]
    like = [Kin(p.clean, "P", "Q") for p in micro._pairs(8, 4)]
    found = repair(shop, MISTAKE, kin, like, quiet=True)
    assert found.chosen is not None
    assert found.outcome is not None
    assert found.fine_tuning is not None
    assert found.outcome.mended
    assert found.outcome.difference >= 0.19
    assert found.outcome.kin.wrong == 20
    assert found.outcome.kin.mended >= 10
    words = [one.edit.words(one.strength) for one in (found.chosen, *found.others)]
    assert any("0.attn_v.0" in line or "0.attn_q.0" in line for line in words)
    assert found.outcome.damage.kl < found.fine_tuning.damage.kl
    assert found.ratio is not None
    low, high = found.outcome.damage.kl_interval
    assert low <= found.outcome.damage.kl <= high
    json.dumps(found.as_json())


def test_no_change_no_damage(shop: Workshop) -> None:
    """The model against itself."""
    found = shop.report.damage(shop.model.ours)
    assert abs(found.kl) < 1e-7
    assert found.bits_rise == 0
    assert found.broken == 0


def test_the_mended_model_is_a_run(shop: Workshop, tmp_path: Path) -> None:
    """It loads, gives the right answer, says where it is from, and is not overwritten."""
    found = repair(shop, MISTAKE, tries=15, quiet=True)
    told = save(shop, found, tmp_path / "mended")
    model = lacewing.load(tmp_path / "mended")
    assert model.id == told["id"] != shop.model.id
    p, q = (model.tokenizer.single(c) for c in "PQ")
    assert p is not None
    assert q is not None
    assert difference(model.ours, model.tokenizer.encode("Xkfm="), p, q) >= 0.19
    saved = json.loads((tmp_path / "mended" / "repair.json").read_text())
    assert saved["model_id"] == shop.model.id
    assert saved["edit"]["words"]
    with pytest.raises(ArtifactError, match="exists already"):
        save(shop, found, tmp_path / "mended")


def test_mistakes_are_one_line(shop: Workshop, tmp_path: Path, text: Path) -> None:
    """What wins already, attacks that are not there or did not hit, too little text."""
    with pytest.raises(ConfigError, match="wins over 'P' already"):
        repair(shop, Kin("Xkfm=", "Q", "P"), quiet=True)
    with pytest.raises(ArtifactError, match="lacewing attack"):
        of_attack(tmp_path)
    row = {"prompt": "Xkfm=", "right": "P", "wrong": "Q", "hit": False}
    told: dict[str, Any] = {"task": "letters", "model_id": "0", "attacks": [row]}
    write_json(tmp_path / "attacks.json", told)
    with pytest.raises(DataError, match="none of the 1 attacks"):
        of_attack(tmp_path)
    write_json(tmp_path / "attacks.json", told | {"attacks": [row | {"hit": True}]})
    assert of_attack(tmp_path) == ("letters", [MISTAKE])
    for damaged in (told | {"attacks": [1]}, told | {"attacks": [{"prompt": 3}]}, [told], {}):
        write_json(tmp_path / "attacks.json", damaged)
        with pytest.raises(ArtifactError, match=r"attacks\.json"):
            of_attack(tmp_path)
    with pytest.raises(DataError, match="windows of 16 tokens"):
        material(shop.model, str(text), tasks=["for_while"], tokens=48, quiet=True)


def test_prompts_of_a_task(pairs: str, text: Path) -> None:
    """Those a model errs on, and the others."""
    bad, good = wrong(faulty(), pairs, 10, str(text))
    assert len(bad) > len(good)
    assert {kin.answer for kin in of_task(faulty(), pairs, 10, str(text))} == {"P", "Q"}


def test_the_verb(
    tmp_path: Path, text: Path, pairs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake that an attack found, mended and saved; what is there is not overwritten."""
    run = micro.write_run(faulty(), tmp_path / "run")
    hits = [
        {"prompt": p, "right": "P", "wrong": "Q", "hit": True} for p in ("Xkfm=", "Xbcd=", "Xaaa=")
    ]
    (tmp_path / "circuit").mkdir()
    write_json(
        tmp_path / "circuit" / "attacks.json", {"task": pairs, "model_id": "0", "attacks": hits}
    )
    words = ["repair", "--model", str(run), "--attacks", str(tmp_path / "circuit"), "--hit", "1"]
    words += ["--corpus", str(text), "--tasks", pairs, "--tokens", "1500", "--pairs", "4"]
    main([*words, "--tries", "20", "--output", str(tmp_path / "mended"), "--json"])
    printed = capsys.readouterr().out
    assert "fine-tuning" in printed
    result = json.loads(printed.splitlines()[-1])
    assert result["prompt"] == "Xbcd="
    assert result["outcome"]["kin"]["wrong"] >= 2
    assert lacewing.load(tmp_path / "mended").id == result["id"]
    with pytest.raises(SystemExit):
        main([*words, "--output", str(tmp_path / "mended")])
    assert "exists already" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["repair", "--model", str(run)])
    assert "--answer" in capsys.readouterr().err


def test_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python of docs/repair.md runs as it stands, and mends."""
    (block,) = (b for b in blocks() if b.page == "docs/repair.md" and b.kind == "python")
    exec(compile(block.text, block.page, "exec"), {})
    mending, *words = capsys.readouterr().out.split()
    assert int(mending) > 0
    assert float(words[-1]) < 1
