"""Nodes switched off or held, what is around a node, and the other looks at any model."""

import pytest
import torch
from test_open_trace import ends, tiny

import micro
from lacewing.errors import DataError
from lacewing.model.hooks import edit
from lacewing.trace.near import Near, near
from lacewing.trace.open_views import heads_of, look_of, open_lens, open_looks, recorded
from lacewing.trace.switched import Switch, go_on, next_logits, switch_of
from lacewing.trace.trace import pair_ids, prompt_ids, trace

PROMPT = "Xkfm="


def test_off_at_one_token_and_at_all() -> None:
    """As a hook that sets the mean by hand; at other tokens nothing changes."""
    model = micro.micro()
    tokens, mean = prompt_ids(model, PROMPT), float(model.means["0.attn_v"][0])

    def by_hand(value: torch.Tensor) -> torch.Tensor:
        value = value.clone()
        value[:, 0, 0] = mean
        return value

    with edit(model.network, {"0.attn_v": by_hand}):
        expected = model.network(torch.tensor([tokens]))[0, -1]
    plain = next_logits(model, tokens)
    here = next_logits(model, tokens, [switch_of(model, tokens, "0.attn_v.0@0")])
    everywhere = next_logits(model, tokens, [switch_of(model, tokens, "0.attn_v.0")])
    torch.testing.assert_close(here, expected)
    p, q = ends(model)
    first, off = float(plain[p] - plain[q]), float(here[p] - here[q])
    assert off < first - 1
    assert not torch.equal(everywhere, plain)
    assert not any(model.network.hooks.values())


def test_held_at_a_value() -> None:
    """A value that the node has anyway changes nothing; its opposite takes path A's part twice."""
    model = micro.micro()
    tokens = prompt_ids(model, PROMPT)
    value = float(recorded(model, tokens)["0.attn_v"][0, 0, 0])
    plain = next_logits(model, tokens)
    same = next_logits(model, tokens, [Switch("0.attn_v", 0, 0, value)])
    torch.testing.assert_close(same, plain)
    p, q = ends(model)
    steered = next_logits(model, tokens, [Switch("0.attn_v", 0, 0, -value)])
    assert float(steered[p] - steered[q]) < float(plain[p] - plain[q]) - 2


def test_going_on() -> None:
    """The likeliest text of the model itself; switched off, another one; never over the context."""
    model = micro.micro()
    tokens = prompt_ids(model, PROMPT)
    assert go_on(model, tokens, 3) == model.generate(PROMPT, 3, temperature=0)
    paths = [switch_of(model, tokens, node, -20.0) for node in ("resid_final.4", "resid_final.7")]
    assert go_on(model, tokens, 1) == "P"
    assert go_on(model, tokens, 1, paths) == "Q"
    full = prompt_ids(model, "X" + "k" * 15)
    assert go_on(model, full, 5) == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0.attn_v.9999", "is no node"),
        ("1.attn_v.0", "is no node"),
        ("nonsense", "is no node; write"),
        ("0.attn_v.0@5", "a number from 0 to 4"),
        ("0.attn_v.0@-1", "a number from 0 to 4"),
        ("0.attn_v.0@", "a number from 0 to 4"),
        ("0.attn_v.0@\u0661x", "a number from 0 to 4"),
    ],
)
def test_no_such_node(name: str, said: str) -> None:
    """One line that says what was wrong."""
    model = micro.micro()
    with pytest.raises(DataError, match=said):
        switch_of(model, prompt_ids(model, PROMPT), name)


def around(node: str, token: int) -> Near:
    """What is around a node of the planted model."""
    model = micro.micro()
    key, _, channel = node.rpartition(".")
    return near(model, prompt_ids(model, PROMPT), *ends(model), Switch(key, int(channel), token))


def test_planted_neighbours() -> None:
    """What path A writes is driven by the value at X, and drives its channel of the last stream."""
    found = around("0.attn_out.4", 4)
    assert ("0.attn_v.0", 0) in [(n.node, n.token) for n in found.drives[:3]]
    assert ("resid_final.4", 4) == (found.driven[0].node, found.driven[0].token)
    assert found.driven[0].weight == pytest.approx(found.effect, rel=0.2)
    assert around("0.attn_in.1", 0).drives == ()  # nothing stands before what the embedding writes


def test_effect_is_measured() -> None:
    """Exactly what switching the node off takes away."""
    model = micro.micro()
    tokens, (p, q) = prompt_ids(model, PROMPT), ends(model)
    plain = next_logits(model, tokens)
    off = next_logits(model, tokens, [Switch("0.mlp_neuron", 0, 4)])
    expected = float(plain[p] - plain[q]) - float(off[p] - off[q])
    assert around("0.mlp_neuron.0", 4).effect == pytest.approx(expected, abs=1e-4)


def test_lens_of_ours_by_both_ways() -> None:
    """Taking off what the parts wrote gives the same points as the held pass."""
    model = micro.micro()
    found = trace(model, PROMPT, "P", "Q")
    points = open_lens(model, recorded(model, prompt_ids(model, PROMPT)), *ends(model))
    assert [name for name, _ in found.lens] == [name for name, _ in points]
    for (_, exact), (_, other) in zip(found.lens, points, strict=True):
        assert other == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_lens_ends_in_the_answer(kind: str) -> None:
    """The last point is the logit difference itself; there is one for each part."""
    model = tiny(kind)
    tokens, (p, q) = prompt_ids(model, PROMPT), ends(model)
    logits = next_logits(model, tokens)
    points = open_lens(model, recorded(model, tokens), p, q)
    assert len(points) == 5
    assert points[-1][1] == pytest.approx(float(logits[p] - logits[q]), abs=1e-4)


def test_why_a_planted_head_looks() -> None:
    """Head 0 looks from `=` to X, by its one planted query."""
    model = micro.micro()
    seen = recorded(model, prompt_ids(model, PROMPT))
    found = look_of(model, seen, (0, 0), 4)
    assert (0, 4, found.products[0][0]) == (found.key, found.query, 0)
    looks = trace(model, PROMPT, "P", "Q").looks
    exact = next(look.share for look in looks if (look.layer, look.head) == (0, 0))
    assert found.share == pytest.approx(exact, abs=1e-4)
    with pytest.raises(DataError, match=r"no head 0\.99"):
        look_of(model, seen, (0, 99), 4)


def test_heads_that_share_keys() -> None:
    """A value of grouped heads belongs to all of them; looks are of heads that kept nodes have."""
    model = tiny("llama")
    assert (0, 1, 2) == heads_of(model, "0.attn_v.3")
    assert (5,) == heads_of(model, "1.attn_q.23")
    assert () == heads_of(model, "1.mlp_out.3")
    tokens = prompt_ids(model, PROMPT)
    seen, found = recorded(model, tokens), trace(micro.micro(), PROMPT, "P", "Q")
    some = [n for n in found.graph.nodes if n.key == "0.attn_v" and n.channel < 8]
    looks = open_looks(model, seen, some)
    assert {(look.layer, look.head) for look in looks} <= {(0, head) for head in range(6)}
    assert looks
    assert all(0 < look.share <= 1 for look in looks)


def test_answers_by_id() -> None:
    """A token may be named by its id, which no text can say of every token."""
    model = micro.micro()
    p, q = ends(model)
    by_id, by_text = trace(model, PROMPT, p, q), trace(model, PROMPT, "P", "Q")
    assert by_id.graph.difference == by_text.graph.difference
    with pytest.raises(DataError, match="no token 99999"):
        pair_ids(model, torch.zeros(258), 99999, None)
