"""Controls that must fail: what does the same search find where there is no mechanism to find?

A mask over thousands of nodes is a model of its own: trained hard enough, it may answer anything.
So the search that found the circuit is run again, with the circuit's own settings, on

    nonsense        the same prompts, the answers of half of all pairs exchanged; a hash of the pair
                    says which, so that no rule exists
    shuffled        the same prompts, with the answers of other prompts
    random weights  the true answers, in a model whose weights stand at random places of their
                    matrices: the same scale, the same density, nothing learned

and each has to need at least five times the edges of the circuit, if it reaches the target at all.
A robust search has the plain one's target among its own. So where it is asked for, the plain one,
which takes an eighth of its time, goes first, and what finds nothing plainly counts as not found.
Source: the criticism in method section 13, b; design.md, rule 2.
"""

import copy
import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import Linear

from lacewing.ablation.editor import has_cut_edges
from lacewing.ablation.run import ablated_loss
from lacewing.circuit.circuit import Circuit
from lacewing.circuit.prompts import PromptSets
from lacewing.errors import DataError
from lacewing.model.store import Model, model_id, weights_id
from lacewing.model.weights import thirds
from lacewing.pruning.node_search import Wanted
from lacewing.tasks.batch import Prompts
from lacewing.training.evaluate import site_means
from lacewing.verification.evidence import Evidence
from lacewing.verification.finding import NOT_SEARCHED, Finding, LeftOut, judge
from lacewing.verification.searches import Found, searched

if TYPE_CHECKING:
    from torch.nn import Module

TIMES = 5.0
"""Edges a control needs at least, for every edge of the circuit: far outside what seeds do."""
VALIDATION_PAIRS = 128
"""Validation pairs of a control, the first ones: fewer make it easier, not harder, to succeed."""


def run(model: Model, circuit: Circuit, prompts: Evidence, quiet: bool) -> list[Finding | LeftOut]:
    """Search where nothing is to be found.

    Args:
        model: The circuit's model.
        circuit: The circuit; its configuration is used again.
        prompts: Its prompts, and text to measure the means of the random model on.
        quiet: Report no progress.

    Returns:
        One finding for each control: its edges over the circuit's, infinite if the target is never
        reached. Of a circuit that another tool found, none.
    """
    if circuit.parts is not None:
        return [LeftOut("control", NOT_SEARCHED)]
    config = circuit.config.nodes_alone()
    sets = _fewer(prompts.sets)
    task = prompts.task
    nonsense, shuffled = exchanged(sets), dealt(sets, prompts.seed)
    wanted = [Wanted(task, config, s, anyway=True) for s in (nonsense, shuffled)]
    # A circuit whose edges were cut one by one is compared with what the search alone finds.
    minimised = has_cut_edges(model.network, circuit)
    if minimised:
        wanted.append(Wanted(task, config, prompts.sets))
    found = _plainly_first(model, wanted, prompts.searches, quiet)
    true = found[-1] if minimised else circuit
    edges = circuit.n_edges if isinstance(true, DataError) else true.n_edges
    other = without_training(model, prompts.text, prompts.seed)
    again = [Wanted(task, config, sets, anyway=True)]
    (untrained,) = _plainly_first(other, again, prompts.searches, quiet)
    return [
        _finding("nonsense", "on answers that follow no rule", model, nonsense, found[0], edges),
        _finding("shuffled", "on the answers of other prompts", model, shuffled, found[1], edges),
        _finding("random_weights", "in a model of random weights", other, sets, untrained, edges),
    ]


def _plainly_first(
    model: Model, wanted: Sequence[Wanted], kept: Path | None, quiet: bool
) -> list[Found | DataError]:
    """What searches find; robust ones are made only of what a plain one finds a circuit of."""
    plain = [replace(one, config=replace(one.config, robust=False)) for one in wanted]
    found = searched(model, plain, kept, quiet=quiet)
    deeper = [
        i for i, one in enumerate(found) if wanted[i].config.robust and isinstance(one, Found)
    ]
    again = searched(model, [wanted[i] for i in deeper], kept, quiet=quiet) if deeper else []
    for number, one in zip(deeper, again, strict=True):
        found[number] = one
    return found


def _finding(
    name: str, words: str, model: Model, sets: PromptSets, found: Found | DataError, edges: int
) -> Finding:
    full = float(ablated_loss(model, sets.validation, None).mean())
    if isinstance(found, DataError):
        value, said = math.inf, "no circuit reaches the target"
    else:
        value = found.n_edges / max(1, edges)
        said = f"a circuit of {found.n_edges} edges reaches the target"
    return judge(
        f"control.{name}",
        value,
        TIMES,
        at_most=False,
        unit="ratio of edges",
        n=len(sets.validation),
        control=1.0,
        control_name="the true answers",
        meaning=f"{words}, where the full model has {full:.2f} nats, {said}; the true circuit has "
        f"{edges} edges",
    )


def _fewer(sets: PromptSets) -> PromptSets:
    few = range(min(VALIDATION_PAIRS, len(sets.validation)))
    return replace(sets, validation=sets.validation.take(few))


def exchanged(sets: PromptSets) -> PromptSets:
    """The same prompts, right and wrong answer exchanged in half of the pairs, by their hash."""

    def swapped(prompts: Prompts) -> Prompts:
        chosen = torch.tensor([_odd(p.clean) for p in prompts.pairs]).repeat_interleave(2)
        return replace(
            prompts,
            answer=torch.where(chosen, prompts.other, prompts.answer),
            other=torch.where(chosen, prompts.answer, prompts.other),
        )

    return _changed(sets, [swapped(p) for p in (sets.train, sets.validation, sets.test)])


def dealt(sets: PromptSets, seed: int) -> PromptSets:
    """The same prompts, each with the answers, right and wrong, of a random one of its set."""

    def shuffled(prompts: Prompts, seed: int) -> Prompts:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(prompts.answer), generator=generator)
        return replace(prompts, answer=prompts.answer[order], other=prompts.other[order])

    parts = enumerate((sets.train, sets.validation, sets.test))
    return _changed(sets, [shuffled(part, 3 * seed + i) for i, part in parts])


def without_training(model: Model, text: Tensor, seed: int) -> Model:
    """The model with every weight at a random place of its matrix, and its means measured anew.

    Args:
        model: Its scales and densities are kept, of queries, keys and values each by themselves.
        text: What the means are measured on, [sequence token].
        seed: Draws the places.
    """
    network = copy.deepcopy(model.network)
    whole = cast("Module", network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in whole.named_parameters():
            for part in _drawn_apart(whole, name, parameter):
                order = torch.randperm(part.numel(), generator=generator)
                part.copy_(part.flatten()[order].view(part.shape))
    means = site_means(network, text)
    id = model_id(network, means, model.tokenizer, weights_id(whole))
    return replace(model, network=network, means=means, id=id)


def _drawn_apart(whole: "Module", name: str, parameter: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values where one matrix holds all three; else all of the parameter."""
    if "c_attn" not in name:
        return (parameter,)
    of = whole.get_submodule(name.rpartition(".")[0])
    if parameter.ndim == 2 and not isinstance(of, Linear):  # GPT-2's Conv1D is [in, out]
        return parameter.chunk(3, dim=1)
    return thirds(parameter)


def _odd(text: str) -> bool:
    return bool(hashlib.sha256(text.encode()).digest()[0] & 1)


def _changed(sets: PromptSets, parts: list[Prompts]) -> PromptSets:
    train, validation, test = parts
    return PromptSets(sets.name, train, validation, test)
