"""A released model as a model folder of ours."""

from pathlib import Path
from typing import Any

from lacewing import artifacts
from lacewing.interop.openai.config import CONFIG, read_config
from lacewing.interop.openai.tokenizer import VOCABULARY, read_tokenizer
from lacewing.interop.openai.weights import WEIGHTS, read_network
from lacewing.interop.save import save_model


def import_model(
    folder: Path,
    output: Path,
    tokenizer: Path | None = None,
    corpus: str = "standard_library",
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Read a released model and write it as a model folder.

    Args:
        folder: Holds `beeg_config.json` and `final_model.pt`.
        output: The folder to write; must not exist.
        tokenizer: Folder of the tokenizer's files; by default that of the model, or `tinypython`
            in it or beside it.
        corpus: The text its means and loss are measured on: what it was trained on is not public.
        quiet: No bar.

    Returns:
        What was written, plain values.

    Raises:
        ArtifactError: a file is missing, damaged, foreign or holds code; the output exists.
    """
    artifacts.check_free(output)
    released = read_config(folder / CONFIG)
    words = read_tokenizer(tokenizer or _near(folder))
    network = read_network(folder / WEIGHTS, released)
    about: dict[str, Any] = {
        "released_by": "openai/circuit_sparsity",
        "released_as": artifacts.real(folder).name,
    }
    about |= {"tied_unembedding": released.tied, **released.about}
    return save_model(network, words, output, corpus, about, quiet=quiet)


def _near(folder: Path) -> Path:
    """Where the tokenizer mostly lies: with the model, or in a folder of its own nearby."""
    up = artifacts.real(folder)
    near = (folder, *(place / "tinypython" for place in (up, *list(up.parents)[:2])))
    for place in near:
        if (place / VOCABULARY).is_file() or (place / "tokenizer.json").is_file():
            return place
    return folder
