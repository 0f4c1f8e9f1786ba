"""Going on with a text token by token: the same as `generate`, stopped where it was asked to."""

import pytest
import torch

import micro
from lacewing.model.generate import generate
from lacewing.model.store import Model
from lacewing.watch.serving.writing import Wish, Writing, _begun


def written(model: Model, prompt: str, wish: Wish) -> tuple[Writing, list[str]]:
    """A text to its end, and the pieces it came in."""
    writing = Writing(model, model.tokenizer.encode(prompt), wish)
    pieces = []
    while writing.ends is None:
        pieces.append(writing.step())
    return writing, pieces


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("prompt", ["", "Xkfm=", "Xkfmabcdefghijklmnopqrstuv="])
def test_it_writes_what_generate_writes(model: Model, prompt: str, temperature: float) -> None:
    """Token for token, also from nothing and beyond the context; the pieces add up to it."""
    wish = Wish(tokens=24, temperature=temperature, seed=5)
    writing, pieces = written(model, prompt, wish)
    same = {"seed": 5, "temperature": temperature}
    assert writing.text == generate(model.network, model.tokenizer, prompt, 24, **same)
    assert "".join(pieces) == writing.text
    assert writing.ends in ("stop", "length")


def test_it_ends_before_a_stop(model: Model) -> None:
    """Nothing of the stop is ever handed out, though its beginning came in an earlier token."""
    whole, _ = written(model, "Xkfm=", Wish(tokens=24, seed=1))
    assert len(whole.text) > 12
    stop = whole.text[7:10]
    cut, pieces = written(model, "Xkfm=", Wish(tokens=24, seed=1, stop=("\0", stop)))
    assert cut.text == "".join(pieces) == whole.text[: whole.text.index(stop)]
    assert cut.ends == "stop"
    assert len(cut.drawn) < len(whole.drawn)


def test_signs_that_may_begin_a_stop_wait() -> None:
    """They are handed out once it is certain that they do not."""
    assert [_begun("a = 1;", stop) for stop in (";;", ";", "1;x", "q")] == [1, 0, 2, 0]


def test_half_a_character_waits() -> None:
    """The bytes of one character are handed out together, whatever tokens they come in."""
    model = micro.micro()
    snow = model.tokenizer.encode("\N{SNOWMAN}")
    assert len(snow) == 3
    writing = Writing(model, [], Wish(tokens=9))
    from lacewing.watch.serving.writing import Drawn

    shown = []
    for token in snow:
        writing.drawn.append(Drawn(token, None, ()))
        shown.append(writing._settled())
    assert shown == ["", "", "\N{SNOWMAN}"]


def test_top_p_leaves_the_likeliest(model: Model) -> None:
    """A share next to nothing is the likeliest token, at any temperature and seed."""
    greedy, _ = written(model, "Xkfm=", Wish(tokens=6, temperature=0))
    for seed in range(4):
        wish = Wish(tokens=6, temperature=2, top_p=1e-9, seed=seed)
        assert written(model, "Xkfm=", wish)[0].text == greedy.text


def test_the_odds_are_the_models(model: Model) -> None:
    """Of each token drawn and of each in the prompt, by one pass over all of them."""
    writing, _ = written(model, "Xkfm", Wish(tokens=4, temperature=0, likeliest=2))
    with torch.inference_mode():
        logs = model.network(torch.tensor([writing.tokens]))[0].log_softmax(-1)
    every = [*writing.prompt_odds(), *writing.drawn]
    assert every[0].logprob is None
    for at, one in enumerate(every[1:]):
        assert one.logprob == pytest.approx(float(logs[at, one.token]), abs=1e-5)
        assert one.likeliest[0][1] == pytest.approx(float(logs[at].max()), abs=1e-5)
        assert len(one.likeliest) == 2
