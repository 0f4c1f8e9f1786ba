"""A run made small enough to ship: rounded, cut, and honest about it."""

from pathlib import Path

import pytest
import torch

from lacewing import artifacts
from lacewing.model.store import COMPACT, WHOLE, load, model_id
from lacewing.training.release import for_everybody, release


@pytest.fixture(scope="module")
def released(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with 500 bigram entries left."""
    return release(run, tmp_path_factory.mktemp("released") / "model", 500)


def test_a_release_loads_as_the_rounded_model(run: Path, released: Path) -> None:
    """Every weight fits bfloat16; block matrices are the run's own, rounded; the id is its own."""
    model, before = load(released), load(run)
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, weight.bfloat16().float()), name
        if name != "bigram":
            assert torch.equal(before.network.state_dict()[name].bfloat16().float(), weight), name
    assert model_id(model.network, model.means, model.tokenizer) == model.id != before.id
    assert 500 == int(torch.count_nonzero(model.network.bigram))


def test_a_release_is_small_and_whole(run: Path, released: Path) -> None:
    """No whole-weight file, a manifest that holds, and far fewer bytes."""
    artifacts.read_manifest(released, "run", check_hash=True)
    assert not (released / WHOLE).exists()
    assert (released / COMPACT).stat().st_size < 0.3 * (run / WHOLE).stat().st_size


def test_a_release_says_what_it_cost_and_where_it_comes_from(run: Path, released: Path) -> None:
    """The loss is measured again, and the run it was made of is named."""
    before, after = (artifacts.read_json(f / "summary.json") for f in (run, released))
    assert before["id"] == after["released_from"]
    assert after["rounding_cost"] == pytest.approx(
        after["validation_loss"] - before["validation_loss"]
    )
    assert after["validation_loss"] == load(released).validation_loss


def test_a_release_replaces_an_older_one(run: Path, released: Path) -> None:
    """Releasing into the same place again leaves one whole model there."""
    release(run, released, 100)
    assert 100 == int(torch.count_nonzero(load(released).network.bigram))


@pytest.mark.parametrize(
    ("spec", "kept", "said"),
    [
        (
            "code:/there/corpus+standard_library",
            "code:standard_library",
            "code:corpus 12ab+standard_library",
        ),
        ("taught:code:standard_library", "taught:code:standard_library", None),
        ("/there/texts", "/there/texts", None),
    ],
)
def test_a_release_names_text_that_everybody_has(spec: str, kept: str, said: str | None) -> None:
    """A folder of this machine says nothing elsewhere: its corpus is told by its id."""
    made = for_everybody({"corpus": spec, "corpus_id": "12ab", "format": 1})
    assert (kept, said) == (made["corpus"], made.get("trained_on"))
    assert 1 == made["format"]
