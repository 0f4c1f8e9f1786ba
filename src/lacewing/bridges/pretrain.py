"""The bridges of sparse_pretrain, measured and saved as ours.

    bridges.bin    bridges.S.encoder.linear.{weight,bias}, bridges.S.decoder.linear.{weight,bias}
    config.json    bridges_config.encoder_afrac: the share that AbsTopK keeps

The order of sites is ours: 0 after the embedding, then after each sublayer. Widths come from the
tensors, as its `d_dense` is the name of a repository. Its encoders with a threshold are not read:
they have a learned `log_eps`, and how it is used is known to us from no description.
"""

import shutil
from pathlib import Path

import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.bridges import folder as saved
from lacewing.bridges.figures import measured
from lacewing.bridges.maps import Bridges, Sizes, kept_of
from lacewing.bridges.norms import norms_of
from lacewing.bridges.streams import check_pair, own_network
from lacewing.data.batches import sequences
from lacewing.data.corpus import Corpus
from lacewing.data.shards import prepare
from lacewing.errors import ArtifactError
from lacewing.interop.pickled import checked, state_dict
from lacewing.interop.settings import Settings
from lacewing.model.store import Model
from lacewing.training.config import TrainConfig

FILE, CONFIG = "bridges.bin", "config.json"
THRESHOLD = ".log_eps"


def adopt(
    folder: Path,
    dense: Model,
    sparse: Model,
    output: Path,
    config: TrainConfig | None = None,
    corpus: str | None = None,
    *,
    quiet: bool = False,
) -> saved.Facts:
    """Measure bridges of sparse_pretrain between two imported models, and save them.

    Args:
        folder: Where bridges.bin is, with config.json beside it or above.
        dense: The dense model, as `lacewing import` wrote it.
        sparse: The sparse one.
        output: The folder; must not exist.
        config: How much held-out text, its seed and the length of its windows.
        corpus: Text; by default the sparse model's.
        quiet: Report no progress.

    Raises:
        ArtifactError: a file is missing, damaged, or of bridges that are not read.
        MismatchError: the models do not belong together.
    """
    check_pair(dense, sparse)
    artifacts.check_free(output)
    one, other = own_network(dense, "dense"), own_network(sparse, "sparse")
    kept = kept_of(_fraction(folder), other.config.d_model)
    sizes = Sizes(one.config.n_layer, one.config.d_model, other.config.d_model, kept)
    bridges = read(folder / FILE, sizes)
    config = config or TrainConfig()
    size = min(config.context, one.config.context, other.config.context)
    source = Corpus.parse(corpus or sparse.corpus)
    place = output.with_name(f".{output.name}.adopted")
    try:
        shards = prepare(source, place / "tokens", tokenizer=dense.tokenizer)
        windows = sequences(shards.validation, size, config.validation_tokens)
        norms = norms_of(one, other, sequences(shards.train, size, 16_384)[:, :-1])
        facts = saved.Facts(
            dense=saved.of(output, dense),
            sparse=saved.of(output, sparse),
            n_layer=sizes.n_layer,
            kept=kept,
            tokenizer_id=dense.tokenizer.id,
            corpus=source.spec,
            figures=measured(one, other, bridges, windows, config.seed, quiet=quiet).as_json(),
        )
        del shards  # what is mapped cannot be deleted everywhere
        saved.write(place / "whole", facts, bridges, norms)
        artifacts.place(place / "whole", output, replace=False)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return saved.facts_of(output)


def read(file: Path, sizes: Sizes) -> Bridges:
    """The maps in a bridges.bin.

    Raises:
        ArtifactError: missing, damaged, with code in it, of other widths, or with thresholds.
    """
    found = state_dict(file)
    if any(name.endswith(THRESHOLD) for name in found):
        raise ArtifactError(
            f"{file} has encoders with a threshold ({THRESHOLD}): only those with AbsTopK are read"
        )
    theirs = {_theirs(name): name for name in sizes.shapes()}
    shapes = {name: sizes.shapes()[ours] for name, ours in theirs.items()}
    taken: dict[str, Tensor] = checked(found, shapes, file)
    return saved.filled(sizes, {theirs[name]: tensor for name, tensor in taken.items()})


def _theirs(name: str) -> str:
    """A tensor's name there.

    >>> _theirs("sites.0.encoder.weight")
    'bridges.0.encoder.linear.weight'
    """
    _, site, part, kind = name.split(".")
    return f"bridges.{site}.{part}.linear.{kind}"


def _fraction(folder: Path) -> float:
    """The share of channels that its AbsTopK keeps."""
    file = next(
        (f for f in (folder / CONFIG, folder.parent / CONFIG) if f.is_file()), folder / CONFIG
    )
    share = Settings.read(file).inner("bridges_config").fraction("encoder_afrac")
    if share is None:
        raise ArtifactError(f"{file}: encoder_afrac is null: only encoders with AbsTopK are read")
    return float(torch.tensor(share).double())
