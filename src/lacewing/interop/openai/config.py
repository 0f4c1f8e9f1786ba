"""`beeg_config.json` of a released model, as a configuration of ours.

Published configurations carry keys that the published code does not know, lack keys of later code,
and have defaults in that code which are not theirs. So every key is asked for by name: those that
make another model must be there, those that could make one have to have their one harmless value,
and any other stops the reading.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacewing.errors import ArtifactError
from lacewing.interop.settings import Settings
from lacewing.model.config import BLOCK_SITES, ModelConfig

CONFIG = "beeg_config.json"
HARMLESS: dict[str, tuple[object, ...]] = {
    "residual_activation_type": ("identity",),
    "rms_norm": (True,),
    "afrac_approx": (False, None),
    "afrac_ste": (False, None),
    "afrac_ste_only_non_neurons": (False, None),
    "bigram_table_rank": (None,),
    "unembed_rank": (None,),
    "debug_exact_topk": (True, None),
    "rtopk": (False, None),
    "mup": (False, None),
    "mup_width_multiplier": (None,),
    "enable_fp8_linear": (False, None),
    "scale_invariance": (False, None),
    "use_tied_aux_matrix": (False, None),
}
"""Keys that could make another model, and the values at which they do not."""
NO_MATTER = (
    *("debug_nans", "dropout", "dropout_cat_pos_emb", "enable_sparse_kernels", "flash"),
    *("grad_checkpointing", "ignore_dw_grad", "sparse_matmul_impl"),
    *("sinusoidal_cat_pos_emb", "ln_bias"),  # in the weights already; of LayerNorm alone
)
"""Keys of training and of how things are computed: no logit depends on them."""
ABOUT = ("pfrac", "expansion_factor", "expansion_factor_mlp", "tokenizer_name")
SITES = {
    **{site: site for site in BLOCK_SITES},
    "resid_post_attn": "resid_mid",
    "resid_post_mlp": "resid_post",
}
"""AbsTopK's places in the words of the release and in ours."""


@dataclass(frozen=True)
class Released:
    """What a configuration says."""

    model: ModelConfig
    """`added_positions` and `output_bias` as if both were used: the weights decide."""
    bias: bool
    """Whether linear maps have biases; those here always do."""
    tied: bool
    """Whether the unembedding is the embedding."""
    about: dict[str, Any]
    """What is worth keeping beside it."""


def read_config(path: Path) -> Released:
    """Read a model's configuration.

    Raises:
        ArtifactError: a key is missing, unknown, or has a value that is not supported.
    """
    said = Settings.read(path)
    if "rms_norm" not in said.values:
        raise ArtifactError(f"{path} has no rms_norm: its code then takes LayerNorm, not read here")
    if said.values.get("d_mlp") is None and said.values.get("n_mlp") is not None:
        said.values["d_mlp"] = said.values["n_mlp"]  # its older name
    said.drop("n_mlp")
    d_model, n_head = said.size("d_model"), said.size("n_head")
    said.harmless({**HARMLESS, "n_embd": (None, d_model)})
    d_head = said.size("d_head", max(1, d_model // n_head))
    if n_head * d_head != d_model:
        raise ArtifactError(
            f"{path}: {n_head} heads of {d_head} are {n_head * d_head} channels, d_model is "
            f"{d_model}: only equal ones are supported"
        )
    fraction = said.fraction("afrac")
    sites = _sites(said, path) if fraction is not None else ()
    said.drop("afrac_loctypes")
    positions = said.size("d_pos_emb") if said.values.get("d_pos_emb") is not None else 0
    said.drop("d_pos_emb")
    bias, tied = said.flag("bias"), said.flag("tied_unembed")
    bigram = said.flag("enable_bigram_table")
    about: dict[str, Any] = (
        {"learnable_bigram_table": said.flag("learnable_bigram_table", False)} if bigram else {}
    )
    said.drop("learnable_bigram_table")
    model = ModelConfig(
        n_layer=said.size("n_layer", most=1024),
        d_model=d_model,
        d_head=d_head,
        d_mlp=said.size("d_mlp"),
        vocab_size=said.size("vocab_size"),
        context=said.size("block_size"),
        abs_topk=fraction,
        abs_topk_sites=sites if fraction is not None else BLOCK_SITES,
        sinks=said.flag("sink", False),
        d_position=positions,
        bigram=bigram,
        added_positions=not positions,
        position_gains=bool(positions),
        output_bias=True,
        activation=said.choice("activation_type", {"gelu": "gelu", "relu": "relu"}),  # type: ignore[arg-type]
    )
    about |= said.plain(*ABOUT)
    said.drop(*NO_MATTER, *ABOUT)
    said.finish((*HARMLESS, *NO_MATTER, *ABOUT))
    _check_kept(model, path)
    return Released(model, bias, tied, about)


def _sites(said: Settings, path: Path) -> tuple[str, ...]:
    words = said.words("afrac_loctypes")
    if unknown := [word for word in words if word not in SITES]:
        raise ArtifactError(
            f"{path}: afrac_loctypes has {unknown[0]!r:.60}; known are {', '.join(SITES)}"
        )
    return tuple(ours for word, ours in SITES.items() if word in words)


def _check_kept(model: ModelConfig, path: Path) -> None:
    """Refuse a fraction that keeps nothing: its code then zeroes the site, ours keeps one entry."""
    widths = {"attn_in": model.d_read, "mlp_in": model.d_read, "mlp_neuron": model.d_mlp}
    for site in model.abs_topk_sites if model.abs_topk is not None else ():
        width = widths.get(site, model.d_model)
        if int((model.abs_topk or 1) * width) < 1:
            raise ArtifactError(
                f"{path}: afrac {model.abs_topk} keeps none of the {width} channels of {site}: a "
                "model without that site is not supported"
            )
