"""A small model of GPT-2's layout, trained with transformers on Python that every machine has.

    python -m recipes.gpt2 models/gpt2
    lacewing prune --model hf:models/gpt2 --task from_import --output runs/from_import

It reads the training files of the standard library, so that lacewing's task prompts and held-out
text are none it has seen. Two layers, width 128: it is there to show every verb on a model that
lacewing did not train, not to be good. Seeded; needs the extra `lacewing[hf]`.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from lacewing.data.corpus import Corpus
from lacewing.data.tokenizer import END_OF_TEXT, Tokenizer
from lacewing.progress import progress

CORPUS = "standard_library"
CHARACTERS = 6_000_000
"""Of text read: enough for a model this small."""


def build(
    output: Path,
    *,
    layers: int = 2,
    width: int = 128,
    heads: int = 4,
    vocabulary: int = 2048,
    context: int = 128,
    steps: int = 2500,
    batch: int = 16,
    length: int = 64,
    seed: int = 0,
) -> Path:
    """Train it and save it as transformers does, tokenizer included; a finished one is left alone.

    Args:
        output: The folder.
        layers: Blocks.
        width: Residual channels.
        heads: Heads per block.
        vocabulary: Tokens of its tokenizer.
        context: Positions it knows.
        steps: Optimizer steps.
        batch: Windows per step.
        length: Tokens of a window, the first of which ends the text before.
        seed: Seeds weights and windows.
    """
    if (output / "lacewing.json").exists():
        return output
    text = _text()
    tokenizer = Tokenizer.train([text[:1_000_000]], vocabulary)
    ids = torch.tensor(tokenizer.encode(text))
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size,
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        bos_token_id=tokenizer.end_of_text,
        eos_token_id=tokenizer.end_of_text,
    )
    model = GPT2LMHeadModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1)
    with progress("train GPT-2", steps, "steps") as bar:
        for step in range(steps):
            starts = torch.randint(len(ids) - length, (batch, 1))
            rows = ids[starts + torch.arange(length)]
            rows[:, 0] = tokenizer.end_of_text
            loss = model(input_ids=rows, labels=rows).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            bar.update(step + 1, f"loss {float(loss):.3f}")
    model.eval().save_pretrained(output)
    tokenizer.save(output / "tokenizer.json")
    fast = PreTrainedTokenizerFast(
        tokenizer_file=str(output / "tokenizer.json"), eos_token=END_OF_TEXT
    )
    fast.save_pretrained(output)
    about = {"name": f"GPT-2 layout, {layers} layers of {width}", "corpus": CORPUS}
    (output / "lacewing.json").write_text(json.dumps(about), encoding="utf-8")
    return output


def _text() -> str:
    """Training files of the standard library, one after the other."""
    found, size = [], 0
    for document in Corpus.parse(CORPUS).documents("train"):
        found.append(document.text)
        size += len(document.text)
        if size > CHARACTERS:
            break
    return "\n".join(found)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
