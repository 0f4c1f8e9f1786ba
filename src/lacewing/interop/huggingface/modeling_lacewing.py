"""A weight-sparse transformer of lacewing as a Hugging Face model, in this one file.

It needs torch and transformers alone: `save_pretrained` lays a copy beside the weights, so that
`from_pretrained(..., trust_remote_code=True)` works where lacewing is not installed. Modules are
named as in GPT-2 and in the release of openai/circuit_sparsity; every site where a node of a
circuit can live is a module of its own, so that hooks find it:

    transformer.h.L.attn.{attn_in,attn_q,attn_k,attn_v,pattern,attn_out}
    transformer.h.L.mlp.{mlp_in,mlp_neuron,mlp_out}

Architecture: Weight-sparse transformers have interpretable circuits, arXiv 2511.13653.
"""

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

SITES = ["attn_in", "attn_q", "attn_k", "attn_v", "attn_out", "mlp_in", "mlp_neuron", "mlp_out"]


class LacewingConfig(PretrainedConfig):
    """Shape of one model; the names are those of `lacewing.ModelConfig`."""

    model_type = "lacewing"
    attribute_map = {  # noqa: RUF012  as transformers wants it
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "intermediate_size": "d_mlp",
        "max_position_embeddings": "context",
    }

    def __init__(
        self,
        n_layer: int = 3,
        d_model: int = 256,
        d_head: int = 16,
        d_mlp: int = 1024,
        vocab_size: int = 2048,
        context: int = 128,
        abs_topk: float | None = 0.25,
        abs_topk_sites: list[str] | tuple[str, ...] | None = None,
        sinks: bool = False,
        d_position: int = 0,
        bigram: bool = True,
        added_positions: bool = False,
        position_gains: bool = False,
        output_bias: bool = False,
        activation: str = "gelu",
        **others: object,
    ) -> None:
        self.n_layer, self.d_model, self.d_head, self.d_mlp = n_layer, d_model, d_head, d_mlp
        self.vocab_size, self.context, self.n_head = vocab_size, context, d_model // d_head
        self.abs_topk = abs_topk
        self.abs_topk_sites = list(SITES if abs_topk_sites is None else abs_topk_sites)
        self.sinks, self.d_position, self.bigram = sinks, d_position, bigram
        self.added_positions, self.position_gains = added_positions, position_gains
        self.output_bias, self.activation = output_bias, activation
        others.pop("n_head", None)
        others["tie_word_embeddings"] = False
        others["use_cache"] = False
        super().__init__(**others)


class Site(nn.Module):
    """Where nodes live: AbsTopK keeps the largest of a row; all where it does not act."""

    def __init__(self, config: LacewingConfig, name: str, width: int) -> None:
        super().__init__()
        fraction = config.abs_topk if name in config.abs_topk_sites else None
        self.keep = width if fraction is None else max(1, int(fraction * width))
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The site's value."""
        if self.keep >= self.width:
            return x
        chosen = x.abs().topk(self.keep, dim=-1).indices
        return torch.zeros_like(x).scatter(-1, chosen, x.gather(-1, chosen))


class Attention(nn.Module):
    """Causal attention with an optional sink: a logit that takes its share and gives nothing."""

    def __init__(self, config: LacewingConfig) -> None:
        super().__init__()
        d, read = config.d_model, config.d_model + config.d_position
        self.n_head, self.d_head = config.n_head, config.d_head
        self.attn_in = Site(config, "attn_in", read)
        self.c_attn = nn.Linear(read, 3 * d)
        self.attn_q = Site(config, "attn_q", d)
        self.attn_k = Site(config, "attn_k", d)
        self.attn_v = Site(config, "attn_v", d)
        self.sink_logit = nn.Parameter(torch.zeros(config.n_head)) if config.sinks else None
        self.pattern = nn.Identity()
        self.c_proj = nn.Linear(d, d)
        self.attn_out = Site(config, "attn_out", d)

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """What is written; `seen` [batch, 1, token, token] says which tokens see which."""
        q, k, v = self.c_attn(self.attn_in(x)).chunk(3, dim=-1)
        q, k, v = self.attn_q(q), self.attn_k(k), self.attn_v(v)
        heads = (*x.shape[:2], self.n_head, self.d_head)
        q, k, v = (t.reshape(heads).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(-1, -2) / math.sqrt(self.d_head)).masked_fill(~seen, -torch.inf)
        if self.sink_logit is None:
            pattern = scores.softmax(-1)
        else:
            sink = self.sink_logit[None, :, None, None].expand(*scores.shape[:-1], 1)
            pattern = torch.cat([sink.to(scores.dtype), scores], dim=-1).softmax(-1)[..., 1:]
        mixed = (self.pattern(pattern) @ v).transpose(1, 2).flatten(2)
        return self.attn_out(self.c_proj(mixed))


class MLP(nn.Module):
    """Two maps and the neurons between them."""

    def __init__(self, config: LacewingConfig) -> None:
        super().__init__()
        read = config.d_model + config.d_position
        self.mlp_in = Site(config, "mlp_in", read)
        self.c_fc = nn.Linear(read, config.d_mlp)
        self.act = nn.ReLU() if config.activation == "relu" else nn.GELU()
        self.mlp_neuron = Site(config, "mlp_neuron", config.d_mlp)
        self.c_proj = nn.Linear(config.d_mlp, config.d_model)
        self.mlp_out = Site(config, "mlp_out", config.d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What is written."""
        neurons = self.mlp_neuron(self.act(self.c_fc(self.mlp_in(x))))
        return self.mlp_out(self.c_proj(neurons))


class Block(nn.Module):
    """Attention, then MLP, both added to the residual stream."""

    def __init__(self, config: LacewingConfig) -> None:
        super().__init__()
        d, p, gains = config.d_model, config.d_position, config.position_gains
        self.resid_pre = Site(config, "resid_pre", d)
        self.ln_1 = nn.RMSNorm(d)
        self.ln_p1 = nn.RMSNorm(p, elementwise_affine=gains) if p else None
        self.attn = Attention(config)
        self.resid_mid = Site(config, "resid_mid", d)
        self.ln_2 = nn.RMSNorm(d)
        self.ln_p2 = nn.RMSNorm(p, elementwise_affine=gains) if p else None
        self.mlp = MLP(config)
        self.resid_post = Site(config, "resid_post", d)

    def forward(
        self, x: torch.Tensor, positions: torch.Tensor | None, seen: torch.Tensor
    ) -> torch.Tensor:
        """The residual stream after the block."""
        x = self.resid_pre(x)
        x = self.resid_mid(x + self.attn(_beside(self.ln_1(x), positions, self.ln_p1), seen))
        return self.resid_post(x + self.mlp(_beside(self.ln_2(x), positions, self.ln_p2)))


class LacewingForCausalLM(PreTrainedModel, GenerationMixin):
    """The model with its unembedding."""

    config_class = LacewingConfig
    base_model_prefix = "transformer"
    _no_split_modules = ["Block"]  # noqa: RUF012  as transformers wants it

    def __init__(self, config: LacewingConfig) -> None:
        super().__init__(config)
        parts = {
            "wte": nn.Embedding(config.vocab_size, config.d_model),
            "h": nn.ModuleList(Block(config) for _ in range(config.n_layer)),
            "ln_f": nn.RMSNorm(config.d_model),
        }
        width = config.d_model if config.added_positions else config.d_position
        if width:
            parts["wpe"] = nn.Embedding(config.context, width)
        self.transformer = nn.ModuleDict(parts)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        vocab = config.vocab_size
        self.bigram_table = nn.Parameter(torch.zeros(vocab, vocab)) if config.bigram else None
        bias = torch.zeros(vocab) if config.output_bias else None
        self.register_buffer("final_logits_bias", bias)
        self.post_init()

    def blocks(self) -> Iterable[nn.Module]:
        """The blocks, from first to last."""
        return self.transformer["h"].children()

    def get_input_embeddings(self) -> nn.Module:
        """The embedding."""
        return self.transformer["wte"]

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Put another embedding in its place."""
        self.transformer["wte"] = value

    def get_output_embeddings(self) -> nn.Module:
        """The unembedding."""
        return self.lm_head

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **others: object,
    ) -> CausalLMOutput | tuple[torch.Tensor, ...]:
        """Next-token logits [batch, token, vocabulary], in nats.

        Args:
            input_ids: Token ids [batch, token].
            attention_mask: 1 where a token counts; padding may stand on either side.
            labels: Token ids for the loss, -100 where none is asked for.
            return_dict: False for a tuple.
            others: Passed over: there is no cache.
        """
        del others
        length, device = input_ids.shape[1], input_ids.device
        if "wpe" in self.transformer and length > self.config.context:
            raise ValueError(f"{length} tokens exceed the {self.config.context} known positions")
        seen = torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]
        place = torch.arange(length, device=device)[None]
        if attention_mask is not None:
            real = attention_mask.bool()
            place = (real.long().cumsum(-1) - 1).clamp(min=0)
            # A padding token sees itself, so that no row is empty.
            own = torch.eye(length, dtype=torch.bool, device=device)[None, None]
            seen = (seen & real[:, None, None, :]) | own
        x, positions = self.transformer["wte"](input_ids), None
        if "wpe" in self.transformer:
            known = self.transformer["wpe"](place)
            x, positions = (x + known, None) if self.config.added_positions else (x, known)
        for block in self.blocks():
            x = block(x, positions, seen)
        logits = self.lm_head(self.transformer["ln_f"](x))
        if self.final_logits_bias is not None:
            logits = logits + self.final_logits_bias
        if self.bigram_table is not None:
            logits = logits + F.embedding(input_ids, self.bigram_table)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        if return_dict is False:
            return (logits,) if loss is None else (loss, logits)
        return CausalLMOutput(loss=loss, logits=logits)

    def prepare_inputs_for_generation(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **others: object
    ) -> dict[str, object]:
        """The last tokens, as many as the context holds."""
        del others
        last = slice(-self.config.context, None)
        mask = None if attention_mask is None else attention_mask[:, last]
        return {"input_ids": input_ids[:, last], "attention_mask": mask}


def _beside(
    x: torch.Tensor, positions: torch.Tensor | None, norm: nn.Module | None
) -> torch.Tensor:
    """What a sublayer reads: the normed residual stream and the normed positions beside it."""
    if positions is None or norm is None:
        return x
    return torch.cat([x, norm(positions).expand(*x.shape[:-1], -1)], dim=-1)
