"""A model that goes on with a text, and models in one line."""

import pytest

from lacewing.errors import ConfigError
from lacewing.model.store import Model, load


@pytest.fixture(scope="module")
def tiny() -> Model:
    return load("builtin:taught-tiny")


def test_seeds(tiny: Model) -> None:
    """The same seed gives the same text, another one another; the prompt is not in it."""
    first = tiny.generate("import ", 30)
    assert first == tiny.generate("import ", 30)
    assert first != tiny.generate("import ", 30, seed=1)
    assert not first.startswith("import ")


def test_zero_temperature_takes_the_likeliest(tiny: Model) -> None:
    """Whatever the seed; a low temperature comes near."""
    greedy = tiny.generate("for i in ", 12, temperature=0)
    assert greedy == tiny.generate("for i in ", 12, temperature=0, seed=5)
    for nearly in (1e-6, 1e-38, 1e-300):
        assert greedy == tiny.generate("for i in ", 12, temperature=nearly, seed=5)


def test_length_and_window(tiny: Model) -> None:
    """Text may grow beyond the context: the model sees its last tokens."""
    context = tiny.network.config.context
    long = "x = 1\n" * context
    assert tiny.generate(long, 3, temperature=0) == tiny.generate(
        tiny.tokenizer.decode(tiny.tokenizer.encode(long)[-context:]), 3, temperature=0
    )
    assert tiny.generate("", 2 * context, seed=1)
    assert "" == tiny.generate("x", 0)


def test_the_end_of_text_ends_it(busy: Model) -> None:
    """The end-of-text token is no part of the text, and nothing comes after it."""
    network = busy.network
    assert network.bigram is not None
    row = network.bigram[:, busy.tokenizer.end_of_text]
    before = row.clone()
    try:
        row.fill_(1e4)
        assert "" == busy.generate("a b", 20)
    finally:
        row.copy_(before)


def test_impossible_settings(tiny: Model) -> None:
    """Below zero is refused."""
    with pytest.raises(ConfigError, match="at least 0"):
        tiny.generate("x", temperature=-1.0)


def test_one_line_each(tiny: Model) -> None:
    """What a prompt of Python shows is short."""
    shape = "1 layer, width 128, 1024 tokens"
    assert f"Model('builtin:taught-tiny', {shape}, id 7675f7a3bc42fea1-9232b070)" == repr(tiny)
    assert len(repr(tiny.tokenizer)) < 80
