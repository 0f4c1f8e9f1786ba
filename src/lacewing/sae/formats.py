"""SAELens' files: `cfg.json` and `sae_weights.safetensors` of one autoencoder in a folder.

Written in the layout of version 6, so that `SAE.load_from_disk(FOLDER)` opens it there. Read are
its topk, abstopk, jumprelu and standard autoencoders and its transcoders. It has no topk
transcoder: ours are written as `topk_transcoder`, which it refuses by name rather than misreads.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.errors import ArtifactError, MismatchError
from lacewing.model.sites import FINAL_SITE
from lacewing.sae.autoencoder import Activation, Autoencoder

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
VERSION = "6.0.0"
"""Of SAELens, whose layout this is; without one it would read the layout of before."""
HOOKS = {
    "attn_in": "ln1.hook_normalized",
    "attn_q": "attn.hook_q",
    "attn_k": "attn.hook_k",
    "attn_v": "attn.hook_v",
    "attn_out": "hook_attn_out",
    "mlp_in": "ln2.hook_normalized",
    "mlp_neuron": "mlp.hook_post",
    "mlp_out": "hook_mlp_out",
}
"""Our sites in TransformerLens' words, of a block."""
ACTIVATIONS: Mapping[str, Activation] = {
    "topk": "topk",
    "abstopk": "abstopk",
    "jumprelu": "jumprelu",
    "standard": "standard",
    "transcoder": "standard",
    "jumprelu_transcoder": "jumprelu",
    "topk_transcoder": "topk",
    "abstopk_transcoder": "abstopk",
}
"""What SAELens calls an architecture; the last two are ours alone."""
TYPES = (torch.float32, torch.float16, torch.bfloat16)
LARGEST = 2**24
"""Latents, or channels, beyond which a configuration is a slip."""


@dataclass(frozen=True)
class Config:
    """cfg.json, as far as it is read."""

    __pydantic_config__ = artifacts.LOOSE

    architecture: str
    d_in: int
    d_sae: int
    k: int = 0
    d_out: int | None = None
    apply_b_dec_to_input: bool = True
    normalize_activations: str = "none"
    reshape_activations: str = "none"
    rescale_acts_by_decoder_norm: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)


def hook_name(site: str, layers: int) -> str:
    """A site in TransformerLens' words.

    Example:
        >>> hook_name("3.mlp_out", 12), hook_name("resid_final", 12)
        ('blocks.3.hook_mlp_out', 'blocks.11.hook_resid_post')
    """
    if site == FINAL_SITE:
        return f"blocks.{layers - 1}.hook_resid_post"
    layer, _, name = site.partition(".")
    return f"blocks.{layer}.{HOOKS[name]}"


def files_of(sae: Autoencoder, metadata: Mapping[str, Any], layers: int) -> dict[str, bytes]:
    """The two files.

    Args:
        sae: What they hold.
        metadata: What SAELens says of its own: model_name, context_size, dataset_path, ...
        layers: Blocks of the model, for the names of hooks.
    """
    (latents, d_in), d_out = sae.encoder.shape, sae.decoder.shape[1]
    said: dict[str, Any] = {
        "architecture": f"{sae.activation}_transcoder" if sae.is_transcoder else sae.activation,
        "d_in": d_in,
        "d_sae": latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": not sae.is_transcoder,
        "normalize_activations": "none",
        "reshape_activations": "none",
    }
    if sae.k:
        said |= {"k": sae.k, "rescale_acts_by_decoder_norm": False}
    hooks: dict[str, Any] = {"hook_name": hook_name(sae.reads, layers), "hook_head_index": None}
    bias = sae.encoder_bias
    if sae.is_transcoder:
        said["d_out"] = d_out
        hooks["hook_name_out"] = hook_name(sae.site, layers)
        bias = bias - sae.encoder @ sae.input_bias
    elif not torch.equal(sae.input_bias, sae.decoder_bias):
        bias = bias - sae.encoder @ (sae.input_bias - sae.decoder_bias)
    said["metadata"] = {"sae_lens_version": VERSION, **hooks, **metadata}
    tensors = {
        "W_enc": sae.encoder.T.contiguous(),
        "b_enc": bias,
        "W_dec": sae.decoder,
        "b_dec": sae.decoder_bias,
    }
    if sae.threshold is not None:
        tensors["threshold"] = sae.threshold
    return {
        CONFIG: json.dumps(said, indent=2).encode(),
        WEIGHTS: artifacts.tensor_bytes(tensors),
    }


def read_folder(folder: Path, site: str, reads: str, widths: Mapping[str, int]) -> Autoencoder:
    """The autoencoder in a folder of SAELens, or of ours.

    Args:
        folder: With both files.
        site: The site key it is for.
        reads: The site key that it reads; the same, but for transcoders.
        widths: Channels of the model's sites.

    Raises:
        ArtifactError: a file is missing, damaged, or of an architecture that is not read.
        MismatchError: it is for a site of another width.
    """
    if not folder.is_dir():
        raise ArtifactError(f"no autoencoder at {folder}: there is no such folder")
    config = artifacts.read(folder / CONFIG, Config)
    check(config, folder / CONFIG, site, reads, widths)
    content = artifacts.read_bytes(folder / WEIGHTS, most(config))
    return parsed(config, artifacts.parse_tensors(content, folder / WEIGHTS), folder, site, reads)


def check(config: Config, file: Path, site: str, reads: str, widths: Mapping[str, int]) -> None:
    """Refuse a configuration that is not read, or that is of another width."""
    if config.architecture not in ACTIVATIONS:
        raise ArtifactError(
            f"{file} has architecture {config.architecture:.40}; read are {', '.join(ACTIVATIONS)}"
        )
    if config.normalize_activations != "none" or config.reshape_activations != "none":
        raise ArtifactError(
            f"{file} asks for normalize_activations {config.normalize_activations:.40} and "
            f"reshape_activations {config.reshape_activations:.40}; only none of both is read: "
            "fold them into the weights in SAELens first"
        )
    if ("transcoder" in config.architecture) != (site != reads):
        raise MismatchError(f"{file} is a {config.architecture}, which does not read {reads}")
    sizes = (config.d_in, config.d_sae, config.d_out or 1)
    if not all(1 <= size <= LARGEST for size in sizes) or not 0 <= config.k <= config.d_sae:
        raise ArtifactError(f"{file} has sizes {sizes} and k {config.k}: damaged")
    if (config.k > 0) != (ACTIVATIONS[config.architecture] in ("topk", "abstopk")):
        raise ArtifactError(f"{file} is a {config.architecture} with k {config.k}: damaged")
    for key, size in ((reads, config.d_in), (site, config.d_out or config.d_in)):
        if widths[key] != size:
            raise MismatchError(
                f"{file} is for {size} channels, site {key} of this model has {widths[key]}: an "
                "autoencoder of another site or model"
            )


def parsed(
    config: Config, tensors: Mapping[str, Tensor], folder: Path, site: str, reads: str
) -> Autoencoder:
    """The autoencoder of a configuration that was checked, and its tensors."""
    activation = ACTIVATIONS[config.architecture]
    d_in, latents, d_out = config.d_in, config.d_sae, config.d_out or config.d_in
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, latents),
        "b_enc": (latents,),
        "W_dec": (latents, d_out),
        "b_dec": (d_out,),
    }
    if activation == "jumprelu":
        shapes["threshold"] = (latents,)
    known = {name: tensor for name, tensor in tensors.items() if name in shapes}
    artifacts.check_tensors(known, folder / WEIGHTS, shapes, TYPES)
    own = {name: tensors[name].to(torch.float32, copy=True) for name in shapes}
    encoder, bias, decoder = own["W_enc"].T.contiguous(), own["b_enc"], own["W_dec"]
    if config.rescale_acts_by_decoder_norm:
        norm = decoder.norm(dim=1)
        encoder, bias = encoder * norm[:, None], bias * norm
        decoder = decoder / norm.clamp(min=1e-12)[:, None]
    centred = config.apply_b_dec_to_input and site == reads
    return Autoencoder(
        site=site,
        reads=reads,
        activation=activation,
        k=config.k,
        encoder=encoder,
        encoder_bias=bias,
        decoder=decoder,
        decoder_bias=own["b_dec"],
        input_bias=own["b_dec"] if centred else torch.zeros(d_in),
        threshold=own.get("threshold"),
    )


def most(config: Config) -> int:
    """Bytes that the weights of a configuration may take."""
    width = config.d_in + (config.d_out or config.d_in) + 4
    return 8 * config.d_sae * width + 2**20
