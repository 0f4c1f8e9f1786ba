"""A mended model as a run folder of its own, which says where it is from.

config.json, tokenizer.json, metrics.jsonl, means, weights, summary.json      as of any run
repair.json                                      the mistake, the edit, what both ways damaged
"""

from pathlib import Path
from typing import Any

import torch

from lacewing import artifacts
from lacewing.errors import ConfigError
from lacewing.model.store import MEANS, WHOLE, model_id, parameters
from lacewing.trace.outcome import Repair
from lacewing.trace.repair import Workshop
from lacewing.training.evaluate import site_means, validation_loss

REPAIR = "repair.json"


def save(shop: Workshop, found: Repair, output: Path) -> dict[str, Any]:
    """Write the mended model.

    Its site means and its loss are measured anew, on the text the workshop has.

    Args:
        shop: What it was mended with.
        found: What was found.
        output: The folder; must not exist.

    Returns:
        The id of the new model, and its folder.

    Raises:
        ConfigError: nothing mends the mistake.
        ArtifactError: the folder exists, or cannot be written.
    """
    if found.network is None:
        raise ConfigError(
            "no edit that was tried mends this mistake, so there is no model to save; nothing was "
            "written"
        )
    model, network = shop.model, found.network
    text = torch.cat([shop.material.fit.text, shop.material.choose.text])
    means = site_means(network, text)
    identity = model_id(network, means, model.tokenizer)
    loss = validation_loss(network, shop.material.report.text)
    config = {
        "format": artifacts.FORMAT,
        "model": network.config.as_json(),
        "training": dict(model.training),
        "corpus": str(model.corpus),
    }
    summary = {
        "id": identity,
        "validation_loss": loss,
        "nonzero": sum(int(torch.count_nonzero(p)) for p in network.parameters()),
        "repaired_from": model.id,
    }
    artifacts.write_folder(
        output,
        "run",
        files={"tokenizer.json": model.tokenizer.to_bytes(), "metrics.jsonl": b""},
        json={
            "config.json": config,
            "summary.json": summary,
            REPAIR: {"source": model.source} | found.as_json(),
        },
        tensors={MEANS: means, WHOLE: parameters(network)},
    )
    return {"id": identity, "saved": str(output)}
