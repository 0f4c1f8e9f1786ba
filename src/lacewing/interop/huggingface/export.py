"""Our models as Hugging Face models, and back, to the bit.

export = to_huggingface(lacewing.load("builtin:sparse"))     # a PreTrainedModel
save_pretrained(model, "folder"); push_to_hub(model, "me/name")
AutoModelForCausalLM.from_pretrained("folder")     # after `import lacewing.interop.huggingface`
"""

import tempfile
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from lacewing import artifacts
from lacewing.data.tokenizer import END_OF_TEXT
from lacewing.errors import ArtifactError, ConfigError
from lacewing.interop.huggingface.card import card
from lacewing.interop.huggingface.modeling_lacewing import LacewingConfig, LacewingForCausalLM
from lacewing.model.huggingface.load import MEANS, measured_on, quietly, write_means
from lacewing.model.huggingface.own import names_of
from lacewing.model.layers import shapes_alone
from lacewing.model.store import Model
from lacewing.model.transformer import own

__all__ = ["push_to_hub", "save_pretrained", "to_huggingface", "words_of"]
LacewingConfig.register_for_auto_class()
LacewingForCausalLM.register_for_auto_class("AutoModelForCausalLM")


def to_huggingface(model: Model) -> LacewingForCausalLM:
    """A model of ours as one of transformers, with the same weights.

    Raises:
        ConfigError: it is none of ours.
    """
    network = own(model.network, "Export to Hugging Face")
    config = LacewingConfig(**network.config.as_json())
    with shapes_alone():
        made = LacewingForCausalLM(config)
    ours = network.state_dict()
    names = names_of(network.config, "transformer.", "transformer.h.{}.", sink="")
    tensors = {name: ours[name_here].detach().clone() for name, name_here in names.items()}
    made.load_state_dict(tensors, assign=True)
    made.generation_config.eos_token_id = model.tokenizer.end_of_text
    made.generation_config.pad_token_id = model.tokenizer.end_of_text
    made.generation_config.use_cache = False
    return made.eval()


def save_pretrained(model: Model, folder: str | Path) -> Path:
    """Write a folder that transformers loads: weights, code, tokenizer, means and a card.

    Args:
        model: A model of ours.
        folder: Where; must not exist, or be empty.

    Raises:
        ArtifactError: something is there.
        ConfigError: the model is none of ours.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or next(folder.iterdir(), None) is not None):
        raise ArtifactError(f"{folder} exists already: choose another place; nothing was written")
    made = to_huggingface(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
        part = Path(place) / folder.name
        quietly(made.save_pretrained, part)
        quietly(words_of(model).save_pretrained, part)
        # As it is: transformers would write another file of the same tokenizer.
        artifacts.write_bytes(part / "tokenizer.json", model.tokenizer.to_bytes())
        kept = measured_on(model.id.partition("-")[0], model.tokenizer, model.corpus)
        write_means(part / MEANS, model.means, kept, model.validation_loss)
        artifacts.write_bytes(part / "README.md", card(model).encode())
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    return folder


def push_to_hub(model: Model, name: str, **more: Any) -> str:
    """Save a model and send it to the Hub; returns its address there.

    Args:
        model: A model of ours.
        name: `USER/NAME`.
        more: As `huggingface_hub.HfApi.create_repo` takes them, such as `private`.

    Raises:
        ConfigError: the model is none of ours, or the Hub did not take it: no such place, nobody
            logged in, no network.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with tempfile.TemporaryDirectory() as place:
        folder = save_pretrained(model, Path(place) / "model")
        try:
            address = api.create_repo(name, exist_ok=True, **more)
            api.upload_folder(repo_id=name, folder_path=folder)
        except Exception as error:  # of the Hub's library, of requests, of sockets
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(
                f"{api.endpoint} did not take {name}: {reason:.200}; log in with `hf auth login`, "
                "or write a folder with --output"
            ) from error
    return str(address)


def words_of(model: Model) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers has it."""
    import tokenizers

    inner = tokenizers.Tokenizer.from_str(model.tokenizer.to_bytes().decode())
    words = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=model.network.config.context,
        clean_up_tokenization_spaces=False,
    )
    words.padding_side = "left"
    return words
