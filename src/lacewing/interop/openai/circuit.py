"""`viz_data.pt` of the release: a circuit, and the prompts of its task, as ours.

    circuit_data    hook name -> kept channels; the site it stands for is in SITES
    importances     task_samples (first half one class, second half its partners, padded with
                    zeros), loss and interv_loss, both of a pair: twice what is meant by a loss here

The file does not say which tokens the task chooses between; they are given, or known by its name.
Which class is which answer's is decided by the model: the way round at which its own loss is lower.
Losses are measured anew, and those of the file are halved and kept beside them.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lacewing import artifacts
from lacewing.ablation.masks import masks_of
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.circuit import Circuit, circuit_of
from lacewing.circuit.config import PruneConfig
from lacewing.errors import ArtifactError, DataError, MismatchError
from lacewing.interop.pickled import read_pickled
from lacewing.interop.save import finite
from lacewing.model.families import QKV
from lacewing.model.sites import FINAL_SITE, site_widths
from lacewing.model.store import Model
from lacewing.model.transformer import own
from lacewing.tasks.batch import Prompts, encode
from lacewing.tasks.fit import problems
from lacewing.tasks.pair import Pair

SITES = {
    "attn.act_in": "attn_in",
    **{f"attn.{site[-1]}": site for site in QKV},
    "attn.resid_delta": "attn_out",
    "mlp.act_in": "mlp_in",
    "mlp.post_act": "mlp_neuron",
    "mlp.resid_delta": "mlp_out",
}
"""Hook names of the release, after the layer, and our sites."""
FINAL = "final_resid"
CONFIG = "prune_config"
ANSWERS = {
    "bracket_counting": ("]]\n", "]\n"),
    "single_double_quote": ('")', "')"),
    "set_or_string": (".add", " +="),
    "while_return_true": (":\n", "\n"),
    "for_while": (" in", ":"),
    "if_equals": (" ==", " ="),
    "enumerate_range": (" enumerate", " range"),
    "lambda_func": (":", "("),
}
"""The two answers of released tasks, by the beginning of their names."""


def import_circuit(
    file: Path, model: Model, output: Path, answers: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Read a released circuit and write it as a circuit's folder.

    Args:
        file: `viz_data.pt`, in a folder MODEL/TASK/SWEEP/SIZE as it was published.
        model: The imported model.
        output: The folder to write; must not exist.
        answers: The two tokens that the task chooses between.

    Returns:
        What was read and what was measured, plain values.

    Raises:
        ArtifactError: the file is missing, damaged, foreign or holds code; the output exists.
        DataError: the answers are not known, or no single tokens.
        MismatchError: the circuit does not fit the model.
    """
    artifacts.check_free(output)
    network = own(model.network, "Import of a released circuit")
    data = _mapping(read_pickled(file), file, "the file")
    task = _task_of(file)
    nodes, absent = _nodes(_mapping(data.get("circuit_data"), file, "circuit_data"), model, file)
    importances = _mapping(data.get("importances"), file, "importances")
    texts = _texts(importances, model, file)
    prompts, swapped = _prompts(texts, answers or _known(task, file), model, file)
    losses, released = _losses(importances, file)
    made = circuit_of(
        network,
        nodes,
        model_id=model.id,
        model_source=model.source,
        task=task,
        answers=tuple(sorted(set(prompts.answer.tolist()))),
        ablation="mean",
        config=_config(data, prompts),
        tokenizer_id=model.tokenizer.id,
        pairs=prompts.pairs,
    )
    measured = finite(_measured(model, made, prompts) | released, file)
    made = replace(made, losses=measured)
    made.save(output)
    return {
        "circuit": str(output),
        "task": task,
        "nodes": made.n_nodes,
        "edges": made.n_edges,
        "pairs": len(prompts),
        "dropped": len(texts) - len(prompts),
        "answers": [prompts.pairs[0].clean_answer, prompts.pairs[0].corrupted_answer],
        "swapped": swapped,
        "absent": absent,
        "stored": losses,
        **{("circuit_loss" if k == "circuit" else k): v for k, v in made.losses.items()},
    }


def _mapping(value: object, file: Path, what: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise ArtifactError(
            f"{file}: {what} is a {type(value).__name__}, not named values: no viz_data of the "
            "release"
        )
    return value


def _task_of(file: Path) -> str:
    """The task's name by the folder it was published in: MODEL/TASK/SWEEP/SIZE/viz_data.pt."""
    parts = artifacts.real(file).parts
    return parts[-4] if len(parts) >= 4 and file.name.startswith("viz_data") else file.stem


def _known(task: str, file: Path) -> tuple[str, str]:
    for name, pair in ANSWERS.items():
        if task.startswith(name):
            return pair
    raise DataError(
        f"{file}: the answers of task {task!r} are not known, and the file does not say them: give "
        "the two tokens with --answers"
    )


def _nodes(
    kept: Mapping[Any, Any], model: Model, file: Path
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Kept channels by site, and the sites the file says nothing of: nothing is kept there.

    The last residual stream is the exception: unnamed, it was not masked, and all of it is kept.
    """
    widths = site_widths(model.network.config)
    nodes: dict[str, np.ndarray] = {}
    for name, channels in kept.items():
        if name == CONFIG:
            continue
        key = _site(name)
        if key not in widths:
            raise MismatchError(
                f"{file}: circuit_data has {str(name)!r:.60}, which is no site of a model of "
                f"{model.network.config.n_layer} layers"
            )
        nodes[key] = _channels(channels, widths[key], f"{file}: {name}")
    absent = [key for key in widths if key not in nodes]
    for key in absent:
        every = np.arange(widths[key] if key == FINAL_SITE else 0)
        nodes[key] = every.astype(np.int32)
    return {key: nodes[key] for key in widths}, absent


def _site(name: object) -> str:
    """Our key for a hook's name; empty for none."""
    if name == FINAL:
        return FINAL_SITE
    layer, _, rest = str(name).partition(".")
    return f"{layer}.{SITES[rest]}" if rest in SITES and layer.isdecimal() else ""


def _channels(value: object, width: int, where: str) -> np.ndarray:
    if not isinstance(value, Tensor) or value.ndim != 1 or value.dtype == torch.bool:
        raise ArtifactError(f"{where} is no list of channels: a mask, or damaged")
    if value.is_floating_point() and value.numel():
        raise ArtifactError(f"{where} has {value.dtype} for channels: damaged or foreign")
    channels = np.unique(value.detach().long().numpy()).astype(np.int32)
    if len(channels) and not 0 <= channels[0] <= channels[-1] < width:
        raise MismatchError(
            f"{where} has channel {channels[-1]}, the site has {width}: of another model"
        )
    return channels


def _texts(
    importances: Mapping[Any, Any], model: Model, file: Path
) -> list[tuple[str, str] | None]:
    """The two prompts of each pair; None where its text gives other tokens than the file has.

    Prompts were cut from the left by tokens, so that a first token may be half of a word.
    """
    samples = importances.get("task_samples")
    rows = samples[0] if isinstance(samples, list | tuple) and len(samples) else None
    rows = list(rows) if isinstance(rows, Tensor | list | tuple) else []
    tensors = all(isinstance(row, Tensor) and row.ndim == 1 for row in rows)
    if len(rows) < 2 or len(rows) % 2 or not tensors:
        raise ArtifactError(f"{file} has no task_samples in two halves: no viz_data of the release")
    texts = []
    for row in rows:
        ids = row.long().tolist()
        while ids and ids[-1] == 0:  # padding; no prompt of the release ends with token 0
            ids.pop()
        if not ids or not all(0 <= i < model.tokenizer.vocab_size for i in ids):
            raise MismatchError(f"{file}: a sample has tokens that {model.source} does not know")
        text = model.tokenizer.decode(ids)
        texts.append(text if model.tokenizer.encode(text) == ids else None)
    half = len(texts) // 2
    both = zip(texts[:half], texts[half:], strict=True)
    return [(a, b) if a is not None and b is not None else None for a, b in both]


def _prompts(
    texts: list[tuple[str, str] | None], answers: tuple[str, str], model: Model, file: Path
) -> tuple[Prompts, bool]:
    """The pairs, answers the way round that the model finds likelier; whether that is the other."""
    for answer in answers:
        if model.tokenizer.single(answer) is None:
            raise DataError(f"answer {answer!r} is not one token of {model.source}: choose others")
    longest = model.network.config.context
    found = []
    for first, second in (answers, answers[::-1]):
        pairs = [
            Pair(*text, first, second, f"{file.name}:{row}")
            for row, text in enumerate(texts)
            if text is not None
        ]
        wrong = problems(pairs, model.tokenizer, longest) if pairs else []
        fit = [pair for pair, problem in zip(pairs, wrong, strict=True) if not problem]
        if not fit:
            raise DataError(
                f"{file}: none of its {len(texts)} pairs reads back as the same tokens, each with "
                f"one of {answers[0]!r} and {answers[1]!r} after it: the tokenizer or the answers "
                "are others"
            )
        prompts = encode(fit, model.tokenizer, longest)
        found.append((float(ablated_loss(model, prompts, None).mean()), prompts))
    swapped = found[1][0] < found[0][0]
    return found[swapped][1], swapped


def _losses(
    importances: Mapping[Any, Any], file: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """The losses as they are stored, and halved: the release sums both members of a pair."""
    stored = {}
    for name, ours in (("loss", "released_full"), ("interv_loss", "released_circuit")):
        value = importances.get(name)
        if isinstance(value, Tensor) and value.numel() == 1:
            value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
            stored[ours] = float(value)
    if not stored:
        raise ArtifactError(f"{file} has no losses in importances: no viz_data of the release")
    return stored, {name: value / 2 for name, value in stored.items()}


def _config(data: Mapping[Any, Any], prompts: Prompts) -> PruneConfig:
    """What of its search is known: the target loss, where it says one, halved like the others."""
    inside = data.get("circuit_data")
    said = data.get(CONFIG) or (inside.get(CONFIG) if isinstance(inside, Mapping) else None)
    target = said.get("target_loss") if isinstance(said, Mapping) else None
    usable = isinstance(target, int | float) and 0 < target / 2 < log(2)
    changes: dict[str, Any] = {}
    if usable and target is not None:
        changes["target_loss"] = float(target) / 2
    return PruneConfig(max_tokens=int(prompts.tokens.shape[1]), calibrate=False, **changes)


def _measured(model: Model, made: Circuit, prompts: Prompts) -> dict[str, float]:
    """The loss of the model and of the circuit on the file's own prompts, nats per side."""
    masks = masks_of(model.network, made.nodes)
    full = ablated_loss(model, prompts, None).mean()
    return {"full": float(full), "circuit": float(ablated_loss(model, prompts, masks).mean())}
