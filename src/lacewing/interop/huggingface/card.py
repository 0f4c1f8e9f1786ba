"""The card of a model on the Hub, written from what its run says."""

from lacewing.model.families import WRITERS
from lacewing.model.store import Model
from lacewing.model.transformer import own, writers

HEAD = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- weight-sparse
- mechanistic-interpretability
- lacewing
---
"""


def card(model: Model) -> str:
    """The card: what it is, how to load it, its shape, its losses, how sparse each matrix is."""
    config = own(model.network, "A card").config
    shape = {k: _plain(v) for k, v in config.as_json().items()}
    trained = {k: _plain(v) for k, v in model.training.items() if v is not None}
    lines = [
        HEAD,
        f"# {model.name or model.source}",
        "",
        f"A transformer of {config.n_layer} layers and width {config.d_model}, most of whose "
        "weights are zero, so that its circuits can be read. The method is that of "
        "*Weight-sparse transformers have interpretable circuits* (arXiv 2511.13653).",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'model = AutoModelForCausalLM.from_pretrained("THIS", trust_remote_code=True)',
        'tokenizer = AutoTokenizer.from_pretrained("THIS", trust_remote_code=True)',
        "```",
        "",
        "With lacewing installed, `import lacewing.interop.huggingface` instead of "
        'trust_remote_code, and `lacewing.load("hf:THIS")` for circuits.',
        "",
        f"Text: `{model.corpus}`. Validation loss {model.validation_loss:.4f} nats per token of "
        f"its own tokenizer of {model.tokenizer.vocab_size:,} tokens, one run. Id `{model.id}`.",
        "",
        "## Nonzero share of each matrix",
        "",
        *_table(("layer", *WRITERS), _densities(model)),
        "",
        "## Shape",
        "",
        *_table(("", ""), list(shape.items())),
        "",
        "## Training",
        "",
        *(_table(("", ""), list(trained.items())) if trained else ["Not known."]),
        "",
    ]
    return "\n".join(lines)


def _densities(model: Model) -> list[tuple[str, ...]]:
    rows = []
    for layer, block in enumerate(own(model.network, "A card").blocks):
        shares = [(weight != 0).float().mean().item() for weight, _ in writers(block).values()]
        rows.append((str(layer), *(f"{share:.4g}" for share in shares)))
    return rows


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _plain(value: object) -> str:
    """A value as a cell of a table."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
