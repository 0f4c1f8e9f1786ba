"""Watching text with the model made by hand: what was changed in it, or in the text, is known."""

import dataclasses
import json
import re

import pytest
import torch

import micro
from lacewing.errors import ConfigError, DataError, MismatchError
from lacewing.model.store import Model
from lacewing.watch.detectors import LOOK
from lacewing.watch.fit import fit
from lacewing.watch.monitor import WEIGHED_EVERY, Monitor
from watch.live_text import LINES, changed, known, lines, pieces, planted, watched


def cut(model: Model) -> None:
    """Path A loses its value: wte 1 -> attn_in 1 -> v 0."""
    (block,) = model.network.blocks
    block.c_attn.weight[2 * micro.WIDTH, 1] = 0


def test_the_same_text_and_model_raise_nothing() -> None:
    """One place a line, at the equals sign, and the circuit answers as the model does."""
    monitor = watched()
    assert monitor.alarms == []
    (row,) = monitor.summary()["circuits"]
    assert row["places"] == 1000
    assert row["agrees"] > 0.99
    assert abs(row["carries"] - row["usual"]["carries"]) < 0.05
    assert not row["probe"]["changed"]
    assert monitor.undecided == []


def test_a_changed_weight_is_named() -> None:
    """The probe finds it at once; the text finds it too, and both name the weight that went."""
    first, *others = watched(changed(cut)).alarms
    assert (first.cause, first.seen_by, first.at) == ("model", "probe", 0)
    assert "0.attn_in.1 -> 0.attn_v.0" == first.parts[0]
    by_text = next(alarm for alarm in others if alarm.seen_by == "text")
    assert by_text.cause == "model"
    assert by_text.since < by_text.at < 8000
    assert "0.attn_in.1 -> 0.attn_v.0" == by_text.parts[0]
    assert {"0.attn_v.0", "0.attn_out.4", "resid_final.4"} & set(by_text.parts)
    assert all(text.endswith("=") for text in by_text.texts)


def test_weights_of_other_circuits_are_named_too() -> None:
    """The circuit whose answers moved most may not be the one whose weight went."""
    model, circuit, _ = known()
    kept = {key: nodes for key, nodes in micro.PLANTED.items() if key != "0.attn_v"}
    other = micro.make(model, kept, pairs=circuit.pairs, config=micro.prune_config())
    both = [other, circuit]
    reference = fit(model, both, pieces(LINES, 1), told="lines", quiet=True)
    monitor = Monitor(model, both, reference, after=changed(cut), quiet=True)
    (alarm,) = monitor.probe()
    assert alarm.parts == ("0.attn_in.1 -> 0.attn_v.0",)
    assert monitor._weights(0) == monitor._weights(1) == [*alarm.parts]


def test_another_way_beside_it_is_seen_by_necessity() -> None:
    """Alone the circuit is enough as before: only without it something has moved."""
    monitor = watched(changed(micro.doubled), count=200)
    first = monitor.alarms[0]
    assert (first.cause, first.seen_by) == ("model", "probe")
    (probed,) = monitor.probed
    assert "without" in probed.moved
    assert "alone" not in probed.moved


def test_another_text_is_told_from_another_model() -> None:
    """Digits between the letters: the fixed prompts say that the model is the same."""
    monitor = watched(letters="0123456789")
    assert monitor.alarms
    assert {alarm.cause for alarm in monitor.alarms} == {"text"}
    assert "the answers of the reference" in monitor.alarms[0].probe


def test_weights_that_change_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed in memory while it is watched, and no glance at the weights: the text shows it."""
    monkeypatch.setattr("lacewing.watch.monitor.WEIGHED_EVERY", 10**9)
    _, _, reference = known()
    model = micro.micro()
    monitor = Monitor(model, [planted(model)], reference, quiet=True)
    for number, text in enumerate(lines(1500, 4)):
        if number == 700:
            before = monitor.tokens
            cut(model)
            monitor.refresh()
        if monitor.step(model.tokenizer.encode(text), ends=True):
            break
    by_probe, alarm = monitor.alarms
    assert (by_probe.seen_by, alarm.seen_by, alarm.cause) == ("probe", "text", "model")
    assert abs(alarm.since - before) < 3000
    assert before < alarm.at < before + 6000


def test_a_glance_at_the_weights_asks_the_probe() -> None:
    """A weight changes in memory: the fixed prompts are asked within a few looks, and tell it."""
    _, _, reference = known()
    model = micro.micro()
    monitor = Monitor(model, [planted(model)], reference, quiet=True)
    found, before = [], 10**9
    for text in lines(3000, 4):
        if monitor.tokens >= 15 * LOOK and before == 10**9:
            before = monitor.tokens
            cut(model)
        found = monitor.step(model.tokenizer.encode(text), ends=True)
        if found:
            break
    (alarm,) = found
    assert (alarm.cause, alarm.seen_by) == ("model", "probe")
    assert alarm.since <= before < alarm.at < before + (WEIGHED_EVERY + 1) * LOOK
    assert alarm.parts[0] == "0.attn_in.1 -> 0.attn_v.0"


def test_a_small_change_is_told_once() -> None:
    """No task loss moves by 0.05 nats, and the answers are others all the same."""

    def nudge(model: Model) -> None:
        (block,) = model.network.blocks
        block.c_attn.weight[2 * micro.WIDTH, 1] *= 0.99

    first, *others = watched(changed(nudge), count=300).alarms
    assert (first.cause, first.seen_by, first.at) == ("model", "probe", 0)
    assert "no task loss by 0.05" in first.probe
    assert [alarm for alarm in others if alarm.seen_by == "probe"] == []


def test_rounding_is_no_change() -> None:
    """One answer differs, as on another processor, and every weight is the reference's own."""
    model, circuit, reference = known()
    probes = reference.probes[0].clone()
    probes[0, 0] += 0.1
    other = dataclasses.replace(reference, probes=(probes,))
    monitor = Monitor(model, [circuit], other, quiet=True)
    assert monitor.probe() == []
    assert monitor.probed[0].largest > 0.09
    assert not monitor.probed[0].changed
    # The same weights in another model (of fewer active channels, say) are no rounding.
    after = dataclasses.replace(model, id=f"{model.id.partition('-')[0]}-01234567")
    (alarm,) = Monitor(model, [circuit], other, after=after, quiet=True).probe()
    assert alarm.cause == "model"


def test_answers_that_are_no_numbers() -> None:
    """A weight so large that logits overflow: the model has changed, and its losses moved."""

    def burst(model: Model) -> None:
        (block,) = model.network.blocks
        block.c_attn.weight[2 * micro.WIDTH, 1] = 3e38

    model, circuit, reference = known()
    monitor = Monitor(model, [circuit], reference, after=changed(burst), quiet=True)
    (alarm,) = monitor.probe()
    assert (alarm.cause, alarm.parts[0]) == ("model", "0.attn_in.1 -> 0.attn_v.0")
    assert "whole" in monitor.probed[0].moved
    json.dumps(monitor.summary(), allow_nan=False)


def test_changed_restored_and_changed_again() -> None:
    """Each change is told."""
    _, _, reference = known()
    model = micro.micro()
    (block,) = model.network.blocks
    monitor = Monitor(model, [planted(model)], reference, quiet=True)
    was, told = block.c_attn.weight.clone(), []
    for value in (0.0, None, 0.0):
        block.c_attn.weight.copy_(was)
        if value is not None:
            cut(model)
        told.append(len(monitor.probe()))
    assert told == [1, 0, 1]


def test_text_without_a_place_says_so() -> None:
    """No equals sign, so nothing is decided; that is told, with the rule."""
    model, circuit, reference = known()
    monitor = Monitor(model, [circuit], reference, quiet=True)
    monitor.step(model.tokenizer.encode("abcdefgh " * 300), ends=True)
    monitor.finish()
    (line,) = monitor.undecided
    assert re.search(r"first_letter: nowhere decided in 2,700 tokens .*'P' or 'Q'.*after '='", line)
    assert monitor.summary()["circuits"][0]["agrees"] is None


def test_what_does_not_belong_together_is_refused() -> None:
    """A circuit of another model, no circuit, too little text, text without the task."""
    model, circuit, reference = known()
    other = dataclasses.replace(circuit, model_id="0123456789abcdef-01234567")
    with pytest.raises(MismatchError, match="first_letter belongs to model 0123456789abcdef"):
        Monitor(model, [other], reference)
    with pytest.raises(ConfigError, match="no circuit"):
        Monitor(model, [], reference)
    with pytest.raises(MismatchError, match="other sites"):
        Monitor(model, [circuit], reference, after=micro.busy(8))
    with pytest.raises(DataError, match="needs 61,440 at least"):
        fit(model, [circuit], pieces(100, 1), told="lines", quiet=True)


def test_steps_of_any_size_see_the_same() -> None:
    """Token by token or all at once."""
    model, circuit, reference = known()
    ids = model.tokenizer.encode("".join(lines(250, 3)))
    one, other = (Monitor(model, [circuit], reference, quiet=True) for _ in range(2))
    one.step(ids)
    for token in ids:
        other.step([token])
    assert one.tokens == other.tokens > 2000
    assert one.counts == other.counts
    assert torch.equal(*(torch.from_numpy(m.detectors.sums) for m in (one, other)))
