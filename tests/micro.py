"""A model worked out by hand: which nodes compute the answer is known, because they were put there.

The prompt is a line of letters between X or Y and an equals sign, `Xkfm=` or `Yvap=`. After X
comes P, after Y comes Q. Two paths say so, about 2 nats of logit difference each:

    A  wte channel 1 (X +, Y -) -> attn_in 1 -> v 0 -> attn_out 4 -> resid_final 4 -> P - Q
       with head 0 looking from `=` (channel 3 -> q 0) to X and Y (channel 2 -> k 0)
    B  wte channel 5 (X +, Y -) -> attn_in 5 -> v 16 (head 1 looks at all tokens alike)
       -> attn_out 6 -> mlp_in 6 -> neuron 0 (far in its linear part) -> mlp_out 7
       -> resid_final 7 -> P - Q

Channel 0 is 8 for every token, so that every norm is about the same whatever is ablated. The other
channels, heads and neurons are distractors: their weights are real, and P and Q read them alike.
"""

import dataclasses
import random
from pathlib import Path

import numpy as np
import torch

from lacewing import artifacts
from lacewing.circuit.circuit import Circuit, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.circuit.prompts import PromptSets
from lacewing.data.tokenizer import Tokenizer
from lacewing.model.config import ModelConfig
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, model_id, parameters
from lacewing.model.transformer import Transformer
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.pair import Pair
from lacewing.training.evaluate import site_means

WIDTH, HEAD = 128, 16
FREE = 8
"""Channels below are planted (or constant); from here on they are distractors."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TARGET = 0.05
"""Both paths alone reach 0.017 nats; without any one of their nodes it is 0.067 or more."""

PLANTED = {
    "0.attn_in": [1, 2, 3, 5],
    "0.attn_q": [0],
    "0.attn_k": [0],
    "0.attn_v": [0, HEAD],
    "0.attn_out": [4, 6],
    "0.mlp_in": [6],
    "0.mlp_neuron": [0],
    "0.mlp_out": [7],
    "resid_final": [4, 7],
}
PATH_A = {"0.attn_in": [1, 2, 3], "0.attn_q": [0], "0.attn_k": [0], "0.attn_v": [0]} | {
    "0.attn_out": [4],
    "resid_final": [4],
}
EDGES = {
    "0.attn_in-attn_q": [(3, 0)],
    "0.attn_in-attn_k": [(2, 0)],
    "0.attn_in-attn_v": [(1, 0), (5, HEAD)],
    "0.attn_v-attn_out": [(0, 4), (HEAD, 6)],
    "0.mlp_in-mlp_neuron": [(6, 0)],
    "0.mlp_neuron-mlp_out": [(0, 7)],
}
ALL_EDGES = 8 + 7 + 4 + 2
"""With embedding (2 + 2 + 1 + 2 nonzero entries), unembedding (2 x 2) and two biases."""
DENSE_EDGES = 4 * (1 + 1 + 2) + 2 * 2 + 1 + 1
"""Between the same nodes where every weight is nonzero."""


PAIRS = (Pair("Xa=", "Ya=", "P", "Q", "one"), Pair("X\u2028\x85=", "Y\u2028\x85=", "P", "Q", "ü"))
"""Two pairs; the second has line ends that JSON keeps."""


_ONE = {"verdict": True, "loss": 0.1, "interval": [0.08, 0.12], "threshold": 0.15, "reason": "kept"}
_ONE |= {"random": {"count": 20, "mean": 1.0, "lowest": 0.8, "highest": 1.2}, "margin": [0.7, 0.9]}
_TWO = {"verdict": True, "loss": 0.6, "interval": [0.5, 0.7], "threshold": 0.35, "reason": "lost"}
_TWO |= {"random": {"count": 20, "mean": 0.1, "lowest": 0.1, "highest": 0.2}, "margin": [0.4, 0.5]}
SHORT_TEST = {
    "task": "first_letter",
    "model_id": "0123456789abcdef",
    "pairs": 8,
    "seed": 0,
    "full": 0.02,
    "full_interval": [0.01, 0.03],
    "sufficient": _ONE,
    "necessary": _TWO,
}
"""What the short test leaves in verification.json."""


def nodes_of(kept: dict[str, list[int]], config: ModelConfig) -> dict[str, np.ndarray]:
    """Kept channels of every site key as circuits hold them."""
    return {key: np.array(kept.get(key, []), dtype=np.int32) for key in site_widths(config)}


def tokenizer() -> Tokenizer:
    """A token for every byte and next to nothing else."""
    return Tokenizer.train(["a b"], vocab_size=258)


def micro(seed: int = 0, dense: bool = False, bigram: bool = False) -> Model:
    """The model; the seed draws its distractors, `dense` makes every weight nonzero.

    With `bigram` it has a table that says P right after X and Q right after Y.
    """
    letters = tokenizer()
    config = ModelConfig(
        n_layer=1,
        d_model=WIDTH,
        d_head=HEAD,
        d_mlp=WIDTH,
        vocab_size=letters.vocab_size,
        context=16,
        abs_topk=None,
        bigram=bigram,
    )
    network = Transformer(config)
    network.eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    _distract(network, generator)
    _plant(network, letters)
    if network.bigram is not None:
        network.bigram.zero_()
        for last, answer in ("XP", "YQ"):
            network.bigram[letters.single(last), letters.single(answer)] = 4
    if dense:
        for name, weight in network.named_parameters():
            if weight.ndim == 2 and "block" in name:
                weight[weight == 0] = 1e-6
    means = {k: mean.clone() for k, mean in site_means(network, _text(letters, seed)).items()}
    return Model(
        network=network,
        tokenizer=letters,
        means=means,
        id=model_id(network, means, letters),
        source=f"micro {seed}",
        corpus="standard_library",
        validation_loss=1.0,
        training={},
    )


def prompts(count: int, seed: int, letters: Tokenizer) -> Prompts:
    """Pairs whose first letter decides."""
    return encode(_pairs(count, seed), letters, 16)


def prompt_sets(model: Model, seed: int = 0) -> PromptSets:
    """Prompts to learn on, to choose on and to report on."""
    made = [prompts(n, 10 * seed + i, model.tokenizer) for i, n in enumerate((96, 48, 48))]
    return PromptSets("first_letter", *made)


def make(model: Model, kept: dict[str, list[int]], **changes: object) -> Circuit:
    """A circuit of the micro model, with some facts."""
    facts = {
        "model_id": model.id,
        "model_source": model.source,
        "task": "first_letter",
        "answers": (80, 81),
        "ablation": "mean",
        "config": PruneConfig(seed=3, target_loss=TARGET, batch=16),
        "losses": {"full": 0.03, "circuit": 0.02, "validation": 0.02},
        "pairs": PAIRS,
        "seconds": 1.5,
    }
    nodes = nodes_of(kept, model.network.config)
    return circuit_of(model.network, nodes, **(facts | changes))


def prune_config(seed: int = 0, **changes: object) -> PruneConfig:
    """A pruning of seconds, which finds the planted circuit."""
    settings = {"target_loss": TARGET, "seed": seed, "prompts": 2048, "batch": 16}
    settings |= {"calibrate": False}  # a scale would let one of two equal paths do
    return PruneConfig(**(settings | changes))  # type: ignore[arg-type]


def kept(circuit: Circuit) -> dict[str, list[int]]:
    """The kept channels of sites that have any."""
    return {key: nodes.tolist() for key, nodes in circuit.nodes.items() if len(nodes)}


def write_run(model: Model, folder: Path) -> Path:
    """Save the model as a finished run."""
    folder.mkdir(parents=True)
    saved = {
        "format": artifacts.FORMAT,
        "model": dataclasses.asdict(model.network.config),
        "training": {},
        "corpus": model.corpus,
    }
    artifacts.write_json(folder / "config.json", saved)
    model.tokenizer.save(folder / "tokenizer.json")
    artifacts.write_bytes(folder / "metrics.jsonl", b"")
    artifacts.write_tensors(folder / "means.safetensors", model.means)
    artifacts.write_tensors(folder / "model.safetensors", parameters(model.network))
    summary = {"validation_loss": model.validation_loss, "id": model.id}
    artifacts.write_json(folder / "summary.json", summary)
    names = sorted(path.name for path in folder.iterdir())
    artifacts.seal(folder, "run", names)
    return folder


def write_pairs(path: Path, count: int = 160, seed: int = 5, ask: bool = True) -> Path:
    """Save pairs as a JSONL task; without `ask` they end with the letter that decides."""
    import json

    keys = ("clean", "corrupted", "clean_answer", "corrupted_answer")
    rows = [{key: getattr(pair, key) for key in keys} for pair in _pairs(count, seed)]
    for row in rows if not ask else ():
        row |= {key: row[key][1:-1] + row[key][0] for key in ("clean", "corrupted")}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _pairs(count: int, seed: int) -> list[Pair]:
    dice = random.Random(seed)
    middles = ["".join(dice.choices(LETTERS, k=dice.randint(9, 11))) for _ in range(count)]
    return [Pair(f"X{m}=", f"Y{m}=", "P", "Q", f"line {i}") for i, m in enumerate(middles)]


def _text(letters: Tokenizer, seed: int) -> torch.Tensor:
    """Pretraining text: every letter, X, Y and = equally often, in any order."""
    known = torch.tensor([letters.single(c) for c in LETTERS + "XY="])
    generator = torch.Generator().manual_seed(1000 + seed)
    return known[torch.randint(len(known), (512, 17), generator=generator)]


def _distract(network: Transformer, generator: torch.Generator) -> None:
    """Sparse random weights among the channels, heads and neurons that are not planted."""

    def sparse(rows: int, columns: int, scale: float) -> torch.Tensor:
        drawn = torch.randn(rows, columns, generator=generator) * scale
        return drawn * (torch.rand(rows, columns, generator=generator) < 0.2)

    (block,) = network.blocks
    for parameter in (*block.parameters(), network.lm_head.weight, network.wte.weight):
        if parameter.ndim == 2:
            parameter.zero_()
    others = WIDTH - FREE
    vocab = network.config.vocab_size
    network.wte.weight[:, FREE:] = 0.3 * torch.randn(vocab, others, generator=generator)
    for first in (0, WIDTH, 2 * WIDTH):  # q, k, v of heads 2 and up
        rows = slice(first + 2 * HEAD, first + WIDTH)
        block.c_attn.weight[rows, FREE:] = sparse(WIDTH - 2 * HEAD, others, 0.3)
        block.c_attn.bias[rows] = 0.1 * torch.randn(WIDTH - 2 * HEAD, generator=generator)
    planted_head = slice(2 * WIDTH + 1, 2 * WIDTH + HEAD)  # other values in the head of path A
    block.c_attn.weight[planted_head, FREE:] = sparse(HEAD - 1, others, 0.3)
    block.attn_proj.weight[FREE:, 1:] = sparse(others, WIDTH - 1, 0.05)
    block.attn_proj.weight[FREE:, HEAD] = 0
    block.c_fc.weight[1:, FREE:] = sparse(WIDTH - 1, others, 0.3)
    block.c_fc.weight[1:FREE, 4:8] = 0.1  # neurons that see the answer and pass it to nobody
    block.mlp_proj.weight[FREE:, 1:] = sparse(others, WIDTH - 1, 0.05)
    network.lm_head.weight[:, FREE:] = sparse(vocab, others, 0.05)


def _plant(network: Transformer, letters: Tokenizer) -> None:
    x, y, ask, p, q = (letters.single(c) for c in "XY=PQ")
    (block,) = network.blocks
    wte, head = network.wte.weight, network.lm_head.weight
    wte[:, 0] = 8
    for channel in (1, 5):
        wte[x, channel], wte[y, channel] = 3, -3
    wte[[x, y], 2] = 3
    wte[ask, 3] = 3
    block.c_attn.weight[0, 3] = 1.2  # q
    block.c_attn.weight[WIDTH, 2] = 1.2  # k
    block.c_attn.weight[2 * WIDTH, 1] = 1  # v
    block.attn_proj.weight[4, 0] = 1
    block.c_attn.weight[2 * WIDTH + HEAD, 5] = 12  # over the length of a prompt
    block.attn_proj.weight[6, HEAD] = 1
    block.c_fc.weight[0, 6] = 1
    block.c_fc.bias[0] = 8
    block.mlp_proj.weight[7, 0] = 1
    block.mlp_proj.bias[7] = -8
    head[q] = head[p]  # alike in all that is not planted
    for channel in (4, 7):
        head[p, channel], head[q, channel] = 0.25, -0.25


def busy(width: int) -> Model:
    """Random sparse weights; two layers, AbsTopK, sinks, positions, bigram table."""
    letters = tokenizer()
    config = ModelConfig(
        n_layer=2,
        d_model=width,
        d_head=4,
        d_mlp=3 * width // 2,
        vocab_size=letters.vocab_size,
        context=16,
        abs_topk=0.5,
        sinks=True,
        d_position=3,
    )
    torch.manual_seed(3)
    network = Transformer(config)
    network.eval().requires_grad_(False)
    for name, weight in network.named_parameters():
        weight.copy_(torch.randn_like(weight) * (torch.rand_like(weight) < 0.6))
        if name.startswith("ln"):
            weight.fill_(1)
    text = torch.randint(letters.vocab_size, (64, 17))
    means = {key: mean.clone() for key, mean in site_means(network, text).items()}
    return Model(
        network=network,
        tokenizer=letters,
        means=means,
        id=model_id(network, means, letters),
        source="busy",
        corpus="standard_library",
        validation_loss=1.0,
        training={},
    )


def write_letters(folder: Path) -> Path:
    """Text of the micro model's letters, in many files of a new folder."""
    folder.mkdir()
    for number in range(120):
        dice = random.Random(number)
        text = "".join(dice.choices("abcdefghijXY=\n", k=300))
        (folder / f"part{number}.txt").write_text(f"{number}{text}")
    return folder


def doubled(model: Model) -> None:
    """A third path: wte 6 -> attn_in 6 -> v 17 -> attn_out 5 -> resid_final 5 -> P - Q."""
    (block,) = model.network.blocks
    x, y, p, q = (model.tokenizer.single(letter) for letter in "XYPQ")
    model.network.wte.weight[x, 6], model.network.wte.weight[y, 6] = 3, -3
    block.c_attn.weight[2 * WIDTH + HEAD + 1, 6] = 12
    block.attn_proj.weight[5, HEAD + 1] = 1
    head = model.network.lm_head.weight
    head[p, 5], head[q, 5] = 1, -1
