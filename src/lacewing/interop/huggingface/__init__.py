"""Our models as Hugging Face models. Importing this makes the Auto classes know them."""

try:
    from transformers import AutoConfig, AutoModelForCausalLM
except ImportError as error:
    from lacewing.errors import ConfigError

    raise ConfigError(
        "models for Hugging Face need transformers: pip install 'lacewing[hf]'"
    ) from error

from lacewing.interop.huggingface.export import push_to_hub, save_pretrained, to_huggingface
from lacewing.interop.huggingface.modeling_lacewing import LacewingConfig, LacewingForCausalLM

AutoConfig.register(LacewingConfig.model_type, LacewingConfig, exist_ok=True)
AutoModelForCausalLM.register(LacewingConfig, LacewingForCausalLM, exist_ok=True)

__all__ = [
    "LacewingConfig",
    "LacewingForCausalLM",
    "push_to_hub",
    "save_pretrained",
    "to_huggingface",
]
