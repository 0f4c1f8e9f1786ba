"""The points of Annexes IV and XI of the EU AI Act, and what an audit has to say to each.

Regulation (EU) 2024/1689 as published on 12 July 2024. Headings are the points in short, in our
words. An answer says what lacewing knows; `no` where it knows nothing, and then who might. Nothing
here says that an obligation applies, or that it is met.
"""

from collections.abc import Callable, Sequence

from lacewing.watch.audit.schema import Answered, Audit, Audited, Card, Point
from lacewing.watch.audit.statement import result

Said = tuple[Answered, str]
NOTHING = "lacewing has nothing to say: {}."
ABOUT = (
    "These pages are arranged by the points of Annexes IV and XI of Regulation (EU) 2024/1689 (the "
    "AI Act, as published on 12 July 2024), so that what was measured can be found under the point "
    "it may serve. Annex IV is about AI systems of high risk, Annex XI about general-purpose "
    "models; whether either applies to this model, and whether anything is met, is not said here. "
    "The headings are the points in short; the Regulation's own text counts, as amended since."
)


def points(audit: Audit) -> tuple[Point, ...]:
    """Every point with its answer, in the order of the annexes."""
    first = [Point("IV", *row[:2], *_said(row[2], audit)) for row in ANNEX_IV]
    second = [Point("XI", *row[:2], *_said(row[2], audit)) for row in ANNEX_XI]
    return (*first, *second)


def _said(answer: "Callable[[Audit], Said] | str", audit: Audit) -> Said:
    return ("no", NOTHING.format(answer)) if isinstance(answer, str) else answer(audit)


def _purpose(audit: Audit) -> Said:
    given = audit.purpose and audit.provider
    told = f"Purpose: {audit.purpose or 'not given'}. Provider: {audit.provider or 'not given'}. "
    return (
        "yes" if given else "in part",
        told + f"Version: model id {audit.model.id}, with the sum of every file below; how it "
        "comes from earlier versions is not recorded.",
    )


def _software(audit: Audit) -> Said:
    here = audit.processor
    return "in part", (
        f"Measured with lacewing {audit.lacewing}, torch {here.torch}, Python {here.python}. What "
        "else a system needs is not known here."
    )


def _hardware(audit: Audit) -> Said:
    here = audit.processor
    return "in part", (
        f"It was measured on a processor of {here.machine} with {here.instructions}, "
        f"{here.system}. What it is meant to run on is not known here."
    )


def _instructions(audit: Audit) -> Said:
    return "in part", (
        'It is opened by `lacewing.load("MODEL")`; docs/models.md and docs/open_models.md say how. '
        "Instructions for those who use a system made of it are not lacewing's to give."
    )


def _methods(audit: Audit) -> Said:
    model = audit.model
    if model.family != "lacewing":
        return "no", NOTHING.format("the model was trained by others")
    start = model.training.get("start")
    told = "It was trained by `lacewing train`; the settings are in the model card."
    if start:
        told += f" It went on from {start}, a run of its own that is not audited here."
    return "yes", told + " No system or model of others was built in."


def _design(audit: Audit) -> Said:
    model = audit.model
    return "yes", (
        f"A transformer of {_layers(model)}, width {model.width}, that gives the likelihood "
        "of the next token and was trained for nothing else. Nonzero share of its block "
        f"matrices: {_share(model.density)}. Kept in the circuits: {_sizes(audit.circuits)}."
    )


def _architecture(audit: Audit) -> Said:
    model = audit.model
    return "in part", (
        f"{_layers(model)} of attention ({model.heads} heads of {model.head_width}) and MLP "
        f"({model.neurons} neurons); {model.parameters:,} parameters, {model.nonzero:,} of them "
        f"not zero; {model.vocabulary:,} tokens, context {model.context}. {_compute(audit)}"
    )


def _data(audit: Audit) -> Said:
    model = audit.model
    if model.family != "lacewing":
        return "no", NOTHING.format("the text was chosen by others")
    known = f"hash {model.text_id}" if model.text_id else "no hash of it was saved"
    return "in part", (
        f"Text: {model.text}, {known}; files are split by a hash of their path into 80 % training, "
        "5 % validation and 15 % for tasks (docs/corpus.md). Tokens read: "
        f"{_count(model.training.get('tokens'))}. Bias of the text was not looked for."
    )


def _oversight(audit: Audit) -> Said:
    return "in part", (
        "What helps to interpret an output: the circuits above, which can be looked at and cut "
        "(`lacewing view`), told in words (`lacewing explain`), written as a program (`lacewing "
        "program`), and traced for one answer (`lacewing trace`). Which oversight is needed is not "
        "lacewing's to say."
    )


def _changes(audit: Audit) -> Said:
    return "in part", (
        "None is recorded. `lacewing watch --before --after` tells of another version which of "
        "these mechanisms it still has."
    )


def _testing(audit: Audit) -> Said:
    pairs = ", ".join(f"{circuit.name} {circuit.pairs}" for circuit in audit.circuits)
    return "in part", (
        f"Outcome {result(audit)}. Each circuit was tested on its saved test pairs ({pairs}), on "
        "which nothing was chosen; the metric is the task's cross-entropy between two answers, in "
        "nats, with 95 % bootstrap intervals over pairs and random circuits as a control, seed "
        f"{audit.seed}, on {audit.made}. Robustness as far as the suite goes; discrimination was "
        "not tested. Signed only where signature.json stands beside this page."
    )


def _functioning(audit: Audit) -> Said:
    told = "; ".join(
        f"{c.task}: {c.full:.3f} nats [{c.full_interval[0]:.3f}, {c.full_interval[1]:.3f}]"
        for c in audit.circuits
    )
    return "in part", (
        f"Loss of the whole model on the tasks (chance is 0.693): {told}. Input is text of at most "
        f"{audit.model.context} tokens. Accuracy for groups of persons, risks and unintended "
        "outcomes were not looked at; what else was not stands under Limits."
    )


def _metrics(audit: Audit) -> Said:
    return "in part", (
        "Loss in nats is compared with two marks set in advance: the target a circuit was pruned "
        "for, and half of chance without it; a test passes only if its whole interval does. Why "
        "this suits a use is for whoever knows the use."
    )


def _lifecycle(audit: Audit) -> Said:
    return "in part", (
        f"None is recorded before this version. From here on, {audit.model.id} and the sums below "
        "tell whether a file has changed, and `lacewing watch` which mechanisms have."
    )


def _post_market(audit: Audit) -> Said:
    return "in part", (
        "No plan. `lacewing watch` can be run on every new version, with an exit status for "
        "scripts (docs/watch.md), and this audit can be checked again at any time."
    )


def _tasks(audit: Audit) -> Said:
    names = ", ".join(dict.fromkeys(circuit.task for circuit in audit.circuits))
    told = f"Purpose: {audit.purpose or 'not given'}. Tested for {names}, and no other task."
    return "in part", told


def _size(audit: Audit) -> Said:
    model = audit.model
    return "yes", (
        f"A decoder-only transformer of {_layers(model)}, width {model.width}; "
        f"{model.parameters:,} parameters, {model.nonzero:,} not zero."
    )


def _modality(audit: Audit) -> Said:
    return "yes", (
        f"Text in, at most {audit.model.context} tokens of a vocabulary of "
        f"{audit.model.vocabulary:,}; out, the likelihood of every token to come next."
    )


def _licence(audit: Audit) -> Said:
    return ("yes", f"{audit.model.licence}.") if audit.model.licence else ("no", "Not known.")


def _training(audit: Audit) -> Said:
    if audit.model.family != "lacewing":
        return "no", NOTHING.format("the model was trained by others")
    return "yes", (
        "Next-token cross-entropy by AdamW; after every step all but the largest weights of each "
        "matrix are set to zero (docs/models.md, arXiv 2511.13653). The aim is that circuits can "
        "be read; the price is a higher loss than a dense model's. Every setting is in the card."
    )


def _resources(audit: Audit) -> Said:
    told = _compute(audit)
    return ("in part" if audit.model.training else "no"), told


def _evaluation(audit: Audit) -> Said:
    ran = [circuit.suite for circuit in audit.circuits if circuit.suite]
    held = sum(suite.verdict == "holds" for suite in ran)
    return "in part", (
        f"Criteria, metric and results stand under What was tested; outcome {result(audit)}. The "
        f"suite of docs/verify.md was run on {len(ran)} of {len(audit.circuits)} circuits and "
        f"holds for {held}. Limits were found by tests that a circuit can fail, and are listed. "
        "No public benchmark was run."
    )


def _adversarial(audit: Audit) -> Said:
    if not any(circuit.suite for circuit in audit.circuits):
        return "no", NOTHING.format("nothing of it was done")
    return "in part", (
        "Of circuits alone: the suite looks for the worst subset of what is ablated, and `lacewing "
        "attack` for inputs a circuit says the model errs on. No red team, no alignment."
    )


def _compute(audit: Audit) -> str:
    """What the training took, as far as is known."""
    model = audit.model
    tokens = model.training.get("tokens")
    if model.family != "lacewing" or not isinstance(tokens, int):
        return "What training took is not known here."
    took = f", {model.training_seconds:,.0f} s" if model.training_seconds is not None else ""
    flops = 6.0 * model.parameters * tokens
    more = "; what it started from is not counted" if model.training.get("start") else ""
    return (
        f"Training: {tokens:,} tokens{took}; about {flops:.1e} floating-point operations, by six "
        f"a parameter and token, an upper estimate where most weights are zero{more}."
    )


def _share(density: float | None) -> str:
    return "not known" if density is None else f"{density:.3g}"


def _layers(model: Card) -> str:
    return f"{model.layers} layer" + ("s" if model.layers != 1 else "")


def _sizes(circuits: Sequence[Audited]) -> str:
    return ", ".join(f"{c.name} {c.nodes} nodes and {c.edges} edges" for c in circuits)


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "not known"


Row = tuple[str, str, "Callable[[Audit], Said] | str"]
ANNEX_IV: tuple[Row, ...] = (
    ("1(a)", "Intended purpose, provider, version and its relation to earlier ones", _purpose),
    ("1(b)", "How it works with hardware, software and other systems", "this is a model alone"),
    ("1(c)", "Versions of software and firmware", _software),
    ("1(d)", "Forms in which it is placed on the market", "this is the provider's to say"),
    ("1(e)", "Hardware it is meant to run on", _hardware),
    ("1(f)", "Pictures of the product it is part of", "this is a model alone"),
    ("1(g)", "The deployer's user interface", "this is a model alone"),
    ("1(h)", "Instructions for use", _instructions),
    ("2(a)", "Methods and steps of development, and what others provided", _methods),
    ("2(b)", "Design: general logic, choices, what it optimises, trade-offs", _design),
    ("2(c)", "Architecture, and the computing used to develop and test", _architecture),
    ("2(d)", "Data: training methods and sets, provenance, selection, cleaning", _data),
    ("2(e)", "Human oversight, and means to interpret outputs", _oversight),
    ("2(f)", "Changes determined in advance", _changes),
    ("2(g)", "Validation and testing: data, metrics, logs, dated and signed reports", _testing),
    ("2(h)", "Cybersecurity", "nothing of it was tested beyond the sums of the files"),
    ("3", "Monitoring, functioning and control: capabilities and limits, input", _functioning),
    ("4", "Why the performance metrics are appropriate", _metrics),
    ("5", "Risk management", "it belongs to the system and its provider"),
    ("6", "Changes through the lifecycle", _lifecycle),
    ("7", "Harmonised standards and other specifications", "none was applied or compared with"),
    ("8", "EU declaration of conformity", "none is made here"),
    ("9", "Evaluation after it is on the market", _post_market),
)
ANNEX_XI: tuple[Row, ...] = (
    ("1.1(a)", "Tasks it is to perform, and systems it can be part of", _tasks),
    ("1.1(b)", "Acceptable use", "this is the provider's to say"),
    ("1.1(c)", "Date of release and distribution", "this is the provider's to say"),
    ("1.1(d)", "Architecture and number of parameters", _size),
    ("1.1(e)", "Modality and format of inputs and outputs", _modality),
    ("1.1(f)", "Licence", _licence),
    ("1.2(a)", "Technical means needed to build it into systems", _instructions),
    ("1.2(b)", "Design and training: methods, choices, what it optimises", _training),
    ("1.2(c)", "Data for training, testing and validation", _data),
    ("1.2(d)", "Computing and time of training", _resources),
    ("1.2(e)", "Energy", "it was not measured"),
    ("2.1", "Evaluation: criteria, metrics, results, how limits were found", _evaluation),
    ("2.2", "Adversarial testing and adaptation", _adversarial),
    ("2.3", "System architecture", "this is a model alone"),
)
