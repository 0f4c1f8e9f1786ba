"""What a behaviour is: paired prompts, two answer tokens, a loss. The paper's twenty, and yours.

From a name to a score:

    task = lacewing.tasks.get("single_double_quote")          # or "my_pairs.jsonl"
    test = lacewing.tasks.prompts(task, corpus, tokenizer, "test", count=150, max_tokens=64)
    lacewing.tasks.evaluate(model, test)                      # loss, accuracy, interval, learned
"""

from importlib import import_module

_HOME = {
    "Draft": "pair",
    "Pair": "pair",
    "PairFile": "userfile",
    "Prompts": "batch",
    "SourceFile": "source",
    "Statement": "source",
    "Task": "task",
    "TaskScore": "scoring",
    "TaskText": "text",
    "accuracy": "scoring",
    "define": "registry",
    "encode": "batch",
    "evaluate": "scoring",
    "get": "registry",
    "names": "registry",
    "pairs": "selection",
    "prompts": "batch",
    "read_pairs": "userfile",
    "two_answer_loss": "scoring",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Import what is asked for, so that `lacewing --help` need not import torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
