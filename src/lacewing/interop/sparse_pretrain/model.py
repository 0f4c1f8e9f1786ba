"""A model in the Hub format of sparse_pretrain as a model folder of ours.

    config.json             model_config, sparsity_config, training_config, bridges_config
    training_config.yaml    the sites of AbsTopK, which config.json does not say
    pytorch_model.bin       the weights; sparse_model.bin where it was trained with bridges
    tokenizer.json          laid there by hand, from the tokenizer that config.json names

Bridges are read by `lacewing.bridges.pretrain`. What was trained with AbsTopK on the residual
stream had it after the last block too, and is used without: here it is run as it is used.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from lacewing import artifacts
from lacewing.data.tokenizer import END_OF_TEXT, LARGEST, Tokenizer
from lacewing.errors import ArtifactError
from lacewing.interop.openai.weights import fill
from lacewing.interop.pickled import checked, state_dict
from lacewing.interop.save import save_model
from lacewing.interop.settings import Settings
from lacewing.model.config import BLOCK_SITES, ModelConfig
from lacewing.model.huggingface.own import names_of
from lacewing.model.layers import shapes_alone
from lacewing.model.transformer import Transformer

CONFIG, MORE = "config.json", "training_config.yaml"
WEIGHTS = ("pytorch_model.bin", "sparse_model.bin")
LOCATIONS = "activation_sparsity_locations"
SITES = (*BLOCK_SITES, "resid_pre", "resid_mid")
ENDS = (END_OF_TEXT, "[EOS]", "</s>", "<eos>")
"""What tokenizers call the end of a text."""
MOST_YAML = 2**20


def import_model(
    folder: Path,
    output: Path,
    tokenizer: Path | None = None,
    corpus: str = "standard_library",
    sites: tuple[str, ...] = (),
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Read a model of sparse_pretrain and write it as a model folder.

    Args:
        folder: A downloaded repository, or a checkpoint inside a run.
        output: The folder to write; must not exist.
        tokenizer: Where tokenizer.json is; by default in the folder.
        corpus: The text its means and loss are measured on.
        sites: Where AbsTopK acts, where training_config.yaml is not there to say it.
        quiet: No bar.

    Returns:
        What was written, plain values.

    Raises:
        ArtifactError: a file is missing, damaged, foreign or holds code; the output exists; the
            sites of AbsTopK are not known.
    """
    artifacts.check_free(output)
    model, about = read_config(folder, sites)
    words = read_tokenizer(tokenizer or folder, about)
    network = read_network(folder, model, biases=bool(about["biases"]))
    return save_model(network, words, output, corpus, about, quiet=quiet)


def read_config(folder: Path, sites: tuple[str, ...] = ()) -> tuple[ModelConfig, dict[str, Any]]:
    """The configuration, and what is worth keeping beside it.

    Raises:
        ArtifactError: as `import_model`.
    """
    file = next(
        (f for f in (folder / CONFIG, folder.parent / CONFIG) if f.is_file()), folder / CONFIG
    )
    said = Settings.read(file)
    if "model_config" not in said.values:
        raise ArtifactError(f"{file} has no model_config: no model of sparse_pretrain")
    shape, sparsity = said.inner("model_config"), said.inner("sparsity_config")
    training, bridges = said.inner("training_config"), said.inner("bridges_config")
    fraction = None
    if sparsity.flag("enable_activation_sparsity", False):
        fraction = sparsity.fraction("activation_topk_fraction")
    where = _sites(sparsity, file.parent, sites) if fraction is not None else BLOCK_SITES
    shape.harmless({"use_rms_norm": (True,)})
    shape.drop("dropout", "use_flash_attention")
    d_model = shape.size("d_model")
    model = ModelConfig(
        n_layer=shape.size("n_layer", most=1024),
        d_model=d_model,
        d_head=shape.size("d_head"),
        d_mlp=shape.size("d_mlp", 4 * d_model),
        vocab_size=shape.size("vocab_size"),
        context=shape.size("n_ctx"),
        abs_topk=fraction,
        abs_topk_sites=where,
        sinks=shape.flag("use_attention_sinks"),
        bigram=shape.flag("use_bigram_table"),
        added_positions=shape.flag("use_positional_embeddings"),
        activation=shape.choice("activation", {"gelu": "gelu", "relu": "relu"}),  # type: ignore[arg-type]
    )
    about: dict[str, Any] = {"released_by": "sparse_pretrain"}
    about["tied_unembedding"] = shape.flag("tie_embeddings")
    about["biases"] = shape.flag("use_bias")
    shape.finish(("n_layer", "d_model"))
    about |= sparsity.plain("target_l0_fraction")
    about |= training.plain("tokenizer_name", "dataset_name", "total_tokens")
    about |= {f"bridges_{k}": v for k, v in bridges.plain("d_dense", "encoder_afrac").items()}
    return model, about


def _sites(sparsity: Settings, folder: Path, given: tuple[str, ...]) -> tuple[str, ...]:
    """AbsTopK's sites: from either file, or as the user says."""
    text = sparsity.values.get(LOCATIONS)
    file = folder / MORE
    if text is None and file.is_file():
        text = read_yaml(file).get("sparsity", {}).get(LOCATIONS)
    if text is None and not given:
        raise ArtifactError(
            f"{folder} does not say where AbsTopK acts: {MORE} is not there, and {CONFIG} "
            "leaves it out; fetch it too, or name the sites with --sites (eight or ten were used)"
        )
    if not given and not isinstance(text, str):  # a list may be a bomb of names in YAML
        raise ArtifactError(f"{folder}: {LOCATIONS} is no text of sites with commas: damaged")
    words = given or tuple(word.strip() for word in str(text).split(","))
    if unknown := [word for word in words if word not in SITES]:
        raise ArtifactError(
            f"{folder}: AbsTopK at {unknown[0]!r:.60} is not known; known are {', '.join(SITES)}"
        )
    return tuple(site for site in SITES if site in words)


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML file of plain values; no tags are followed.

    Raises:
        ArtifactError: it is none.
    """
    content = artifacts.read_bytes(file, MOST_YAML)
    try:
        found = yaml.safe_load(content)
    except Exception as error:  # its constructors raise whatever a value leads to
        raise ArtifactError(f"{file} is no YAML: damaged or foreign") from error
    if not isinstance(found, dict) or not isinstance(found.get("sparsity", {}), dict):
        raise ArtifactError(f"{file} holds no configuration of sparse_pretrain")
    return found


def read_network(folder: Path, model: ModelConfig, biases: bool) -> Transformer:
    """The weights, strictly.

    Args:
        folder: Where they are.
        model: The configuration.
        biases: Whether its linear maps have biases; those here always do.

    Raises:
        ArtifactError: as `import_model`.
    """
    file = next(
        (folder / name for name in WEIGHTS if (folder / name).is_file()), folder / WEIGHTS[0]
    )
    names = names_of(model, "", "blocks.{}.", sink="attn_fn.")
    found = state_dict(file)
    masks = {f"blocks.{layer}.attn.causal_mask" for layer in range(model.n_layer)}
    found = {name: tensor for name, tensor in found.items() if name not in masks}
    if not biases:
        names = {name: ours for name, ours in names.items() if not name.endswith(".bias")}
    with shapes_alone():
        empty = Transformer(model).state_dict()
    shapes = {name: tuple(empty[ours].shape) for name, ours in names.items()}
    taken = checked(found, shapes, file)
    return fill(model, {names[name]: tensor for name, tensor in taken.items()})


def read_tokenizer(folder: Path, about: dict[str, Any]) -> Tokenizer:
    """Its tokenizer, whose end of a text gets the name it has here; ids stay.

    Raises:
        ArtifactError: there is none, or it has no end of a text.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        name = about.get("tokenizer_name", "the one it was trained with")
        raise ArtifactError(f"{folder} has no tokenizer.json: put that of {name} there")
    text = artifacts.read_bytes(file, LARGEST).decode("utf-8", "replace")
    end = next((word for word in ENDS if json.dumps(word) in text), None)
    if end is None:
        raise ArtifactError(f"{file} has no end of a text, none of {', '.join(ENDS)}")
    return Tokenizer.from_bytes(
        text.replace(json.dumps(end), json.dumps(END_OF_TEXT)).encode(), file
    )
