"""The axis words: what each name counts in an annotation like `Float[Tensor, "batch token"]`.

Signatures use these words and no others; a test reads them.
"""

AXES = {
    "batch": "sequences that run through a model together",
    "sequence": "token sequences of a whole set, such as the prompts of a task",
    "pair": "pairs of prompts",
    "token": "positions in a sequence",
    "later": "positions after the first, which no ablation touches",
    "tile": "runs of 64 tokens that are worked on at once",
    "lane": "the tokens of a tile",
    "prefix": "different beginnings of prompts, at whose last tokens a circuit is computed once",
    "query": "queries of attention, where they are fewer than tokens",
    "channel": "coordinates at one site, or of one attention head",
    "varying": "channels whose value differs between rows",
    "fixed": "channels whose value is the same in every row",
    "wanted": "channels asked for",
    "head": "attention heads",
    "latent": "latents of a sparse autoencoder",
    "kept": "entries of a row that are not zero, or that are looked at",
    "vocab": "token ids",
    "circuit": "circuits of a batch",
    "row": "outputs of a weight matrix, or any leading axes taken together",
    "column": "inputs of a weight matrix",
    "sample": "draws of a bootstrap",
    "unit": "whatever a statistic is resampled over",
}
