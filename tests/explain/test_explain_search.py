"""The search, the scores and the records."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import micro
from lacewing import artifacts
from lacewing.errors import ArtifactError, ConfigError, DataError
from lacewing.explain.amplitude import fit_amplitude, isotonic
from lacewing.explain.bits import overlaps, packed, packed_sets, unpacked
from lacewing.explain.firing import firings
from lacewing.explain.library import Library
from lacewing.explain.metrics import average_precision, scores
from lacewing.explain.neuron_record import NeuronRecord, neuron_record, simulation_scores
from lacewing.explain.node import explain_values
from lacewing.explain.pairs import minimal_pairs
from lacewing.explain.planted import SHAPES, plant
from lacewing.explain.predicate import Kind, Literal, Predicate, Since, State
from lacewing.explain.records import collect, read, record
from lacewing.explain.samples import samples
from lacewing.explain.search import f1, search
from lacewing.explain.text import Text


def test_overlaps_count() -> None:
    """The compiled counts are those of plain sets, for sparse and dense beams."""
    n, dice = 6_437, np.random.default_rng(0)
    atoms, positive = dice.random((9, n)) < 0.3, dice.random(n) < 0.2
    beams = np.stack([dice.random(n) < 0.5, np.arange(n) < 70])  # everywhere; in 2 of 101 words
    hits, total = overlaps(packed(beams), packed(atoms), packed(positive[None])[0])
    both = beams[:, None] & atoms[None]
    assert (total == both.sum(2)).all()
    assert (hits == (both & positive).sum(2)).all()
    assert (unpacked(packed(beams)[1], n) == beams[1]).all()


def test_sets_of_tokens_are_packed() -> None:
    """A row has the tokens of its set, also where sets share one; what is no token is in none."""
    here = np.random.default_rng(0).integers(-1, 12, 500)
    sets = [[3], [3, 5, 11], [], [0]]
    rows = [unpacked(row, 500) for row in packed_sets(here, sets, 12)]
    for row, wanted in zip(rows, sets, strict=True):
        assert (row == np.isin(here, wanted)).all()


def test_since_is_what_it_says(library: Library) -> None:
    """Opened in this window at some token, and closed at none after it."""
    text, columns = library.text, library.columns
    atom = Since(State("in_string"), Kind(0, "newline"))
    opened, closed = columns.atom(atom.opened), columns.atom(atom.closed)
    found = columns.atom(atom)
    for i in np.random.default_rng(0).integers(0, len(text), 300):
        inside = range(text.start[i], i + 1)
        opening = max((j for j in inside if opened[j]), default=None)
        assert found[i] == (opening is not None and not closed[opening + 1 : i + 1].any())


@pytest.mark.parametrize("shape", SHAPES)
def test_planted_rules_are_found(library: Library, shape: str) -> None:
    """On unseen documents, what is found holds where the planted rule does."""
    test = library.text.slices["test"]
    reached = []
    for seed in range(3):
        node = plant(library, shape, seed)
        found = search(library, node.activations > 0.25)[0].predicate
        truth = library.columns.truth
        reached.append(f1(truth(found)[test], truth(node.rule)[test]))
    assert np.mean(reached) >= 0.97


def test_a_card_of_a_planted_node(library: Library) -> None:
    """It is explained beyond what knows nothing; both sanity lines fall; examples are there."""
    node = plant(library, "two", 3)
    found = explain_values(library, "0.mlp_neuron.1", node.activations)
    card = found.card
    assert card is not None
    assert found.explained, found.why_not
    for broken in card.sanity.values():
        assert all(broken[name] <= card.scores[name] - 0.2 for name in ("pearson", "f1"))
    assert card.ci95["f1"][0] <= card.scores["f1"] <= card.ci95["f1"][1]
    assert card.unexplained["missed"]
    row = found.as_json()
    assert {"node", "explanation", "sentence", "f1", "pearson", "control", "verdict"} <= row.keys()


def test_shuffled_weights_are_searched_where_they_count(library: Library) -> None:
    """A control that takes two searches is made where the others are beaten, and can beat it."""
    node = plant(library, "two", 3).activations
    dice = np.random.default_rng(1)
    noise = np.where(dice.random(len(library.text)) < 0.02, 1.0, 0.0)
    for values, twin, explained in ((node, noise, True), (node, node, False), (noise, node, False)):
        found = explain_values(library, "0.mlp_neuron.1", values, random=twin)
        assert found.card is not None
        assert found.explained == explained
        assert ("random" in found.card.controls) == (values is node)
    assert found.why_not


def test_minimal_pairs_of_a_position(library: Library) -> None:
    """The beginning is taken off, or a token replaced; what flips is what the predicate says."""
    predicate = Predicate(((Literal(State("position", ">=", "8")),),))
    pairs = minimal_pairs(library, predicate, 0)
    assert pairs.flips.sum() >= 16
    for row, edited, held, flips in zip(
        pairs.original, pairs.edited, pairs.holds, pairs.flips, strict=True
    ):
        assert edited == row[-len(edited) :] or len(edited) == len(row)
        assert held == (len(row) > 8)
        assert flips == (held != (len(edited) > 8))


def test_no_good_explanation(library: Library) -> None:
    """Noise has none, and a dead node none at all; both say why."""
    dice = np.random.default_rng(1)
    noise = np.where(dice.random(len(library.text)) < 0.02, 1.0, 0.0)
    found = explain_values(library, "noise", noise)
    assert not found.explained
    assert "below 0.5" in found.why_not
    dead = explain_values(library, "dead", np.zeros(len(library.text)))
    assert dead.card is None
    assert dead.why_not == "it never differs on fit text"


def test_both_sides(library: Library) -> None:
    """A node that is large here and small there has a predicate for either side."""
    columns = library.columns
    up, down = columns.atom(State("in_string")), columns.atom(State("line_start"))
    found = explain_values(library, "two", up * 2.0 - (down & ~up) * 1.0)
    said = (columns.truth(found.predicate), columns.truth(found.opposite))
    assert any((truth == up).all() for truth in said)
    assert any((truth == (down & ~up)).all() for truth in said)
    assert found.card is not None
    assert found.card.scores["pearson"] > 0.95


def test_dead_and_crowded_nodes() -> None:
    """A constant has no side; a rare large value has one, where small ones do not differ."""
    assert firings(np.zeros(5000)) == []
    values = np.zeros(5000)
    values[:50] = 3.0
    (side,) = firings(values)
    assert (side.sign, int(side.fires(values).sum())) == (1, 50)


def test_amplitude_of_a_counter(library: Library) -> None:
    """Where a value grows with a count, the curve is found, and it rises."""
    count = np.minimum(library.columns.number("since_newline"), 15).astype(float)
    rule = Predicate(((Literal(State("since_newline", ">=", "1")),),))
    made = fit_amplitude(library.columns, (rule, Predicate()), count)
    (curve,) = made.curves
    assert list(curve.values) == sorted(curve.values)
    assert np.abs(made.predict(library.columns, rule) - count).max() < 1.0


def test_isotonic() -> None:
    """Pools neighbours that fall, as least squares does."""
    fitted = isotonic(np.array([1.0, 3.0, 2.0, 4.0]), np.array([1.0, 1.0, 3.0, 1.0]))
    assert fitted.tolist() == [1.0, 2.25, 2.25, 4.0]


def test_average_precision_of_ties() -> None:
    """Tokens of equal value count together: a constant guess has the share of what fires."""
    fires = np.array([True, False, False, False])
    assert average_precision(np.zeros(4), fires) == 0.25
    assert average_precision(np.array([1.0, 0, 0, 0]), fires) == 1.0


def test_scores_of_a_perfect_and_a_useless_guess() -> None:
    """All scores are 1 for the node itself, and 0 for what never fires."""
    dice = np.random.default_rng(2)
    values = np.maximum(dice.standard_normal(1000), 0)
    perfect = scores(values > 0, values, values > 0, values)
    assert all(value == pytest.approx(1.0) for value in perfect.values())
    useless = scores(np.zeros(1000, bool), np.zeros(1000), values > 0, values)
    assert (useless["pearson"], useless["f1"], useless["mcc"]) == (0, 0, 0)


def test_samples_have_weights(python: Text) -> None:
    """Weighted uniform and quantile samples estimate the mean; near misses do not fire."""
    dice = np.random.default_rng(3)
    values = dice.gamma(1.0, size=len(python))
    (side,) = [f for f in firings(values) if f.sign > 0]
    found = samples(python, values, side)
    for kind in ("uniform", "quantile"):
        total = sum(s.weight for s in found[kind])
        assert total == pytest.approx(len(python), rel=0.01)
        mean = sum(s.weight * s.value for s in found[kind]) / total
        assert mean == pytest.approx(values.mean(), rel=0.2)
    assert all(s.value <= side.threshold for s in found["near_miss"])
    assert {s.part for s in found["uniform"]} == set(python.slices)


def test_records_go_on_and_read_back(letters: Text, tmp_path: Path) -> None:
    """A site's missing file alone is made again; what is read is what the model does."""
    model = micro.micro()
    nodes = ["0.attn_in.1", "0.attn_in.5", "resid_final.4"]
    folder = tmp_path / "records"
    record(model, letters, nodes, folder)
    whole = read(folder, letters)
    straight = {n: v for _, values in collect(model, letters, nodes) for n, v in values.items()}
    for node in nodes:
        assert np.abs(whole[node] - straight[node]).max() < 0.02  # half precision
    kept, lost = (
        next((folder / "latents" / k).glob("*.safetensors")) for k in ("0.attn_in", "resid_final")
    )
    before = kept.stat().st_mtime_ns
    lost.unlink()
    record(model, letters, nodes, folder)
    assert kept.stat().st_mtime_ns == before
    assert (read(folder, letters)["resid_final.4"] == whole["resid_final.4"]).all()
    with pytest.raises(ConfigError, match="holds records"):
        record(model, letters, nodes[:1], folder)


def test_records_lie_as_delphi_has_them(letters: Text, tmp_path: Path) -> None:
    """Read without lacewing: hookpoints, locations, halves and tokens; an index beside them."""
    model = micro.micro()
    record(model, letters, ["0.attn_in.1", "0.attn_in.5"], tmp_path)
    place = tmp_path / "latents" / "0.attn_in"
    assert json.loads((place / "config.json").read_text())["model_name"] == model.source
    latents = load_file(place / "0_127.safetensors")
    assert latents["activations"].dtype == torch.float16
    assert latents["locations"].shape == (len(latents["activations"]), 3)
    straight = next(collect(model, letters, ["0.attn_in.1", "0.attn_in.5"]))[1]
    begins = np.flatnonzero(letters.first)
    windows, places, channels = latents["locations"].long().numpy().T
    assert set(channels.tolist()) == {1, 5}
    for at in range(0, len(windows), 997):
        token = begins[windows[at]] + places[at]
        assert latents["tokens"][windows[at], places[at]] == letters.ids[token]
        true = straight[f"0.attn_in.{channels[at]}"][token]
        assert float(latents["activations"][at]) == pytest.approx(float(true), rel=2e-3)
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["nodes"] == {"0.attn_in": [1, 5]}
    assert sum(end - start for start, end in index["parts"].values()) == len(letters)


def test_damaged_records_are_not_believed(letters: Text, tmp_path: Path) -> None:
    """Not when they are read, and not when they are gone on with; nor sealed as if they were."""
    model, folder = micro.micro(), tmp_path / "records"
    record(model, letters, ["0.attn_in.1"], folder)
    (file,) = (folder / "latents" / "0.attn_in").glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="another content than the manifest says"):
        read(folder, letters)
    with pytest.raises(ArtifactError, match="is damaged or edited"):
        record(model, letters, ["0.attn_in.1"], folder)


def test_records_of_tokens_that_are_not_there(letters: Text, tmp_path: Path) -> None:
    """Sums that fit do not make them right."""
    model, folder = micro.micro(), tmp_path / "records"
    record(model, letters, ["0.attn_in.1"], folder)
    (file,) = (folder / "latents" / "0.attn_in").glob("*.safetensors")
    found = artifacts.read_tensors(file)
    found["locations"][0, 0] = 10**6
    artifacts.write_tensors(file, found)
    names = ["index.json", "text.safetensors", file.relative_to(folder).as_posix()]
    artifacts.seal(folder, "records", names)
    with pytest.raises(ArtifactError, match="tokens that its text does not have"):
        read(folder, letters)


def test_records_are_not_written_through_a_link(letters: Text, tmp_path: Path) -> None:
    """A site's folder that leads elsewhere is none."""
    folder, elsewhere = tmp_path / "records", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "latents").mkdir(parents=True)
    (folder / "latents" / "0.attn_in").symlink_to(elsewhere)
    with pytest.raises(ArtifactError, match="a link out of its folder"):
        record(micro.micro(), letters, ["0.attn_in.1"], folder)
    assert not any(elsewhere.iterdir())


def test_no_such_node(letters: Text) -> None:
    """A channel the model lacks is one line with what there is."""
    with pytest.raises(DataError, match=r"site 0\.attn_in has 128 channels"):
        list(collect(micro.micro(), letters, ["0.attn_in.999"]))


def test_the_format_of_2023(letters: Text, tmp_path: Path) -> None:
    """A record survives the file, every object with its name; the scores are the formula's."""
    dice = np.random.default_rng(4)
    values = np.maximum(dice.standard_normal(len(letters)), 0).astype(np.float32)
    made = neuron_record(letters, "0.mlp_neuron.3", values)
    path = tmp_path / "3.json"
    made.save(path)
    assert path.read_text().count('"dataclass_name": "ActivationRecord"') > 50
    back = NeuronRecord.load(path)
    assert back == made
    rows = back.most_positive_activation_records
    guess = [[a + 0.1 * i for i, a in enumerate(r.activations)] for r in rows]
    y, s = (
        torch.tensor([v for row in x for v in row]) for x in ([r.activations for r in rows], guess)
    )
    found = simulation_scores(rows, guess)
    assert found["ev_correlation_score"] == pytest.approx(
        float(torch.corrcoef(torch.stack([y, s]))[0, 1]), abs=1e-6
    )
    left = float(1 - ((y - s) ** 2).mean() / (y**2).mean())
    assert found["rsquared_score"] == pytest.approx(left, abs=1e-5)
    large = json.loads(path.read_text()) | {"mean": 10**400}
    for bad in ('{"dataclass_name": "Other"}', json.dumps(large)):
        path.write_text(bad)
        with pytest.raises(ArtifactError, match="no NeuronRecord of 2023"):
            NeuronRecord.load(path)
