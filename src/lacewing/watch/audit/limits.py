"""What an audit does not say: fixed sentences, and those that follow from its facts."""

from lacewing.watch.audit.schema import Audit

ALWAYS = (
    "A verdict is about one task, on the saved test pairs of a circuit. Nothing is said of what "
    "else the model does, nor of text of other kinds than these prompts.",
    "The short test is measured by the audit: whether the circuit alone keeps the task's loss, and "
    "whether the model without it loses the task, beside random circuits of the same size.",
    "A circuit that passes may not be the only one: another mechanism beside it may show only "
    "under other tests of the suite, or none.",
    "Fairness, safety, security, misuse and the rights of the text's authors were not tested.",
    "`lacewing audit --check` compares the sums of every file with these, and measures some pairs "
    "again, drawn anew each time. It follows the means, intervals and verdicts from the losses of "
    "the pairs; of the random circuits two are measured again, and all of them with `--whole`.",
    "Notes and explanations beside a circuit are no part of the audit.",
)
UNSIGNED = (
    "Whoever can write the folder can make another audit in its place, of another model, with "
    "purpose, provider, licence, commands and day of their choice: without a signature nothing "
    "can tell. Sign it (`--sign KEY`), and check it with the public key (`--check DIR --key "
    "PUBLIC`)."
)
SUITE = (
    "The suite's findings were saved by `lacewing verify` beside the circuit; the audit repeats "
    "them and vouches for the file, and does not measure them again."
)
NO_SUITE = (
    "The faithfulness suite was not run on {}: `lacewing verify --circuit DIR` does it, and the "
    "audit then shows it. The short test alone does not say that a circuit holds."
)
NO_HASH = (
    "Which text the model was trained on is known by name alone ({}): no hash of it was saved, so "
    "that nobody can tell whether text of that name is the same."
)
TAUGHT = (
    "Lines of tasks were written into the training text (`taught:`), so that a circuit says how "
    "such a model does what it was taught, not that models come to it by reading."
)
OTHERS = (
    "The model was trained by others: its text, its training and their costs are not known here; "
    "{} stands for its text where a text was needed."
)


def limits(audit: Audit) -> tuple[str, ...]:
    """Every limit of an audit, those of this one first."""
    model, own = audit.model, []
    if model.family != "lacewing":
        own.append(OTHERS.format(model.text))
    elif model.text_id is None:
        own.append(NO_HASH.format(model.text))
    if model.text.startswith(("taught:", "practice:")):
        own.append(TAUGHT)
    without = [circuit.name for circuit in audit.circuits if circuit.suite is None]
    if without:
        own.append(NO_SUITE.format(", ".join(without)))
    if len(without) < len(audit.circuits):
        own.append(SUITE)
    return (*own, *ALWAYS, UNSIGNED)
