"""Models of transformers: the same logits to the bit, recordings as plain hooks see them, edits."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

transformers = pytest.importorskip("transformers")

from lacewing.errors import ArtifactError, ConfigError, MismatchError  # noqa: E402
from lacewing.model import registry  # noqa: E402
from lacewing.model.hooks import ablate, edit, record  # noqa: E402
from lacewing.model.huggingface import load as loading  # noqa: E402
from lacewing.model.huggingface import network as networks  # noqa: E402
from lacewing.model.huggingface.network import HuggingFaceNetwork  # noqa: E402
from lacewing.model.protocol import Network  # noqa: E402
from lacewing.model.sites import site_widths  # noqa: E402
from lacewing.model.store import load  # noqa: E402

TOKENS = torch.arange(24).view(2, 12) % 50


def _llama(**more: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "vocab_size": 60}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 64}
    config = transformers.LlamaConfig(**sizes, **heads, tie_word_embeddings=True, **more)
    return transformers.LlamaForCausalLM(config).eval()


def _gpt2() -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=60, n_positions=64, n_embd=24, n_layer=2, n_head=4)
    return transformers.GPT2LMHeadModel(config).eval()


def _qwen() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "vocab_size": 60}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 64}
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**sizes, **heads)).eval()


MODELS = [_llama, _gpt2, _qwen]


@pytest.fixture(params=MODELS)
def inner(request: pytest.FixtureRequest) -> Any:
    """A model of each layout, with biases that are not zero."""
    model = request.param()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return model


@torch.no_grad()
def test_logits_to_the_bit(inner: Any) -> None:
    """With nothing set, and with every site recorded, the logits are those of transformers."""
    wanted = inner(TOKENS, use_cache=False).logits
    network = HuggingFaceNetwork(inner)
    assert isinstance(network, Network)
    assert torch.equal(network(TOKENS), wanted)
    with record(network) as seen:
        assert torch.equal(network(TOKENS), wanted)
    assert {key: value.shape[-1] for key, value in seen.items()} == site_widths(network.config)
    last = torch.tensor([11, 5])
    assert torch.allclose(network(TOKENS, at=last), wanted[[0, 1], last], atol=1e-5)
    network.release()
    assert torch.equal(inner(TOKENS, use_cache=False).logits, wanted)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in inner.modules())


@torch.no_grad()
def test_recordings_are_what_plain_hooks_see(inner: Any) -> None:
    """Every module behind a site gives, to a hook of torch's own, what was recorded."""
    network, plain = HuggingFaceNetwork(inner), {}
    for layer, block in enumerate(network.blocks):
        for site, tap in network.layout.taps.items():

            def keep(
                module: Any, inputs: Any, output: Any, key: str = f"{layer}.{site}", tap: Any = tap
            ) -> None:
                value = inputs[0] if tap.side == "input" else output
                plain[key] = value if tap.part is None else value.chunk(3, -1)[tap.part]

            block.get_submodule(tap.module).register_forward_hook(keep)
    with record(network) as seen:
        network(TOKENS)
    final = inner.base_model(TOKENS, output_hidden_states=True).hidden_states
    assert plain.keys() == seen.keys() - {"resid_final"}
    for key, value in plain.items():
        assert torch.allclose(seen[key], value, atol=1e-5), key
    assert len(final) == network.config.n_layer + 1


@torch.no_grad()
def test_edits_act_and_are_undone(inner: Any) -> None:
    """An edit changes what comes after it and nothing before, also when the block fails.

    It scales: the same added to every key would change no softmax.
    """
    network = HuggingFaceNetwork(inner)
    before = network(TOKENS)
    for key in site_widths(network.config):
        with edit(network, {key: lambda value: 1.5 * value + 0.5}), record(network) as seen:
            changed = network(TOKENS)
        assert not torch.equal(changed, before), key
        assert seen.keys() == site_widths(network.config).keys()
        assert torch.equal(network(TOKENS), before), key
    with (
        pytest.raises(ZeroDivisionError),
        edit(network, {"0.attn_q": lambda value: value / (1 // 0)}),
    ):
        network(TOKENS)
    assert torch.equal(network(TOKENS), before)


@torch.no_grad()
def test_ablation_spares_the_first_token(inner: Any) -> None:
    """What every text begins with keeps its values."""
    network = HuggingFaceNetwork(inner)
    key = "1.mlp_neuron"
    with ablate(network, {key: lambda value: value * 0}), record(network, [key]) as seen:
        network(TOKENS)
    assert seen[key][:, 0].abs().sum() > 0
    assert seen[key][:, 1:].abs().sum() == 0


@torch.no_grad()
def test_attention_is_the_models_own(inner: Any) -> None:
    """Patterns from recorded queries and keys equal those that transformers gives."""
    network = HuggingFaceNetwork(inner)
    with record(network) as seen:
        network(TOKENS)
    last = torch.tensor([11, 7])
    heads = [(layer, head) for layer in range(2) for head in range(network.config.n_head)]
    found = network.attention(seen, last, heads)
    inner.set_attn_implementation("eager")
    given = inner(TOKENS, output_attentions=True).attentions
    for (layer, head), pattern in found.items():
        wanted = given[layer][[0, 1], head, last]
        assert torch.allclose(pattern[:, :-1], wanted, atol=1e-5)
        assert pattern[:, -1].abs().max() == 0


@torch.no_grad()
def test_norms_measured_and_frozen(inner: Any) -> None:
    """A norm whose own scale is given back is the same norm."""
    network = HuggingFaceNetwork(inner)
    x = torch.randn(2, 5, network.config.d_model)
    for norm in network.norms().values():
        assert torch.allclose(norm.apply(x, norm.scale(x)), norm.module(x), atol=1e-5)
    assert len(network.norms()) == 2 * network.config.n_layer + 1


def test_which_weights_join_what(inner: Any) -> None:
    """A weight set to zero is no edge, a bias is that of its site, keys and values are shared."""
    network = HuggingFaceNetwork(inner)
    config = network.config
    joined, widths = network.joined(0), site_widths(config)
    sources = {"attn_q": "attn_in", "attn_k": "attn_in", "attn_v": "attn_in", "attn_out": "attn_v"}
    sources |= {"mlp_neuron": "mlp_in", "mlp_out": "mlp_neuron"}
    for site, source in sources.items():
        assert joined[site].shape == (widths[f"0.{site}"], widths[f"0.{source}"]), site
        assert bool(joined[site].all()), site
    for site, bias in network.biases(0).items():
        assert bias.shape == (widths[f"0.{site}"],)


def test_gradients_the_same_with_checkpoints(inner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where blocks run again on the way back, gates get the same gradients."""
    network = HuggingFaceNetwork(inner)

    def slopes() -> Tensor:
        gate = torch.ones(site_widths(network.config)["0.mlp_neuron"], requires_grad=True)
        with torch.enable_grad(), edit(network, {"0.mlp_neuron": lambda value: value * gate}):
            logits = network(TOKENS, at=torch.tensor([11, 11]))
        logits.square().sum().backward()  # after the block: the edit is not set any more
        assert gate.grad is not None
        return gate.grad

    plain = slopes()
    monkeypatch.setattr(networks, "HELD", 0.0)
    assert torch.allclose(slopes(), plain, rtol=1e-4, atol=1e-5)
    assert all("forward" not in vars(block) for block in network.blocks)


def test_copies_are_apart(inner: Any) -> None:
    """A copy has the same weights, and edits of its own."""
    network = HuggingFaceNetwork(inner)
    other = copy.deepcopy(network)
    with torch.no_grad(), edit(other, {"0.attn_in": lambda value: value * 0}):
        assert torch.equal(network(TOKENS), inner(TOKENS, use_cache=False).logits)
        assert not torch.equal(other(TOKENS), network(TOKENS))
    assert other.state_dict().keys() == network.state_dict().keys()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model with a tokenizer of its own."""
    from lacewing.data.tokenizer import Tokenizer

    tokenizer = Tokenizer.train(["def f(x):\n    return x + 1\n" * 40], 280)
    place = tmp_path / "model"
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=tokenizer.vocab_size, n_positions=64, n_embd=24, n_layer=2, n_head=4
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(place)
    tokenizer.save(place / "tokenizer.json")
    transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(place / "tokenizer.json"), eos_token="<|endoftext|>"
    ).save_pretrained(place)
    return place


def _rename(folder: Path, architecture: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = [architecture]
    (folder / "config.json").write_text(json.dumps(config))


def _drop(folder: Path, name: str) -> None:
    (folder / name).unlink()


def _index(folder: Path) -> None:
    shards = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))


def _cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:200])


def _twice(folder: Path) -> None:
    file = folder / "tokenizer.json"
    saved = json.loads(file.read_text())
    saved["model"]["vocab"]["b"] = saved["model"]["vocab"]["a"]
    file.write_text(json.dumps(saved))


def _called(folder: Path) -> None:
    (folder / "lacewing.json").write_text('{"name": "builtin:sparse"}')


def _smaller(folder: Path) -> None:
    transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=100, n_positions=64, n_embd=24, n_layer=2, n_head=4)
    ).save_pretrained(folder)


@pytest.mark.parametrize(
    ("harm", "error", "said"),
    [
        (lambda f: _rename(f, "MambaForCausalLM"), MismatchError, "supported are GPT2LMHeadModel"),
        (lambda f: _drop(f, "model.safetensors"), ArtifactError, "pickled weights are not read"),
        (lambda f: _drop(f, "config.json"), ArtifactError, "no config.json"),
        (_index, ArtifactError, "lacks model-1-of-2.safetensors, 2 of 2 shards"),
        (_cut_short, ArtifactError, "damaged or cut short"),
        (_called, ArtifactError, "'builtin:sparse', which is how another model is opened"),
        (_twice, ArtifactError, "to 'a' and 'b': damaged"),
        (_smaller, MismatchError, "273 tokens but the model knows 100"),
    ],
)
def test_bad_folders_are_one_line(
    folder: Path, harm: Callable[[Path], None], error: type[Exception], said: str
) -> None:
    """What is wrong is said before anything is measured, in one line."""
    harm(folder)
    with pytest.raises(error, match=said) as raised:
        load(f"hf:{folder}")
    assert "\n" not in str(raised.value)


def test_memory_is_foreseen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that would not fit is refused before it is read."""
    monkeypatch.setattr(loading, "available_memory", lambda: 5e8)
    with pytest.raises(ConfigError, match=r"needs 1\.0 GB in float32 and there are 0\.5 GB"):
        load(f"hf:{folder}")


def test_no_network_is_asked() -> None:
    """A name that is not in the local cache is an error that says how to fetch it."""
    with pytest.raises(ArtifactError, match="hf download nobody/nothing"):
        load("hf:nobody/nothing")


def test_opened_twice_is_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means are measured once and kept beside the model; texts begin with one token."""
    model = load(f"hf:{folder}")
    monkeypatch.setattr(loading, "means_of", None)  # a second measurement would fail
    again = load(f"hf:{folder}")
    assert model.is_open
    assert model.is_foreign
    assert (again.id, again.validation_loss) == (model.id, model.validation_loss)
    assert all(torch.equal(again.means[key], mean) for key, mean in model.means.items())
    ids = model.tokenizer.encode("x")
    assert ids[0] == model.tokenizer.end_of_text
    assert model.tokenizer.single("x") == ids[1]
    assert model.generate("def", 3, temperature=0) == again.generate("def", 3, temperature=0)
    assert np.isfinite(model.validation_loss)


def test_a_loader_of_your_own(folder: Path) -> None:
    """A registered loader opens its names everywhere; taken names are refused."""
    registry.register("mine:", lambda name: load(f"hf:{folder}"))
    try:
        assert load("mine:anything").source == f"hf:{folder}"
        for taken in ("hf:", "builtin:", "no colon"):
            with pytest.raises(ConfigError, match="cannot be registered"):
                registry.register(taken, lambda name: None)
    finally:
        del registry._registered["mine:"]
