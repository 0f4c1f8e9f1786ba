"""What `benchmarks.watch` compares a monitor with: three signals that ask no circuit.

Task loss at the places, output entropy, mean activation drift over all nodes, each with the same
detectors, levels fitted in the same way and the same promise.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.watch_table import BASELINES
from lacewing.model.sites import site_widths
from lacewing.model.store import Model
from lacewing.watch.dealing import parts, texts_of
from lacewing.watch.detectors import RUN_LENGTH, Detectors
from lacewing.watch.levels import calibrated_levels
from lacewing.watch.monitor import Monitor
from lacewing.watch.scores import scored, two_sided
from lacewing.watch.stream import Cutter, Piece, Windows


class Baselines:
    """Three signals that ask no circuit, each with detectors of its own."""

    def __init__(self, model: Model, known: Mapping[str, Tensor]) -> None:
        """From what `fitted` found."""
        self.model, self.known = model, known
        self.widths = site_widths(model.network.config)
        count = len(known["level/loss"])
        self.detectors = {
            name: Detectors(known[f"level/{name}"].double().numpy(), weights)
            for name, weights in zip(
                BASELINES, (np.full(count, 1 / count), np.ones(1), np.ones(1)), strict=True
            )
        }

    def also(self, logits: Tensor, seen: Any, lengths: Tensor) -> None:
        """See a pass."""
        total = logits.logsumexp(-1)
        inside = torch.arange(logits.shape[1]) < lengths[:, None]
        expected = (torch.exp(logits - total[..., None]) * logits).sum(-1)
        self.entropy = ((total - expected) * inside).sum(1) / lengths
        flat = inside.flatten().float()
        mean = [flat @ seen[key].flatten(0, 1) / flat.sum() for key in self.widths]
        self.mean = torch.cat(mean)

    def raw(self, monitor: Monitor) -> dict[str, Tensor]:
        """What one look gives, before it is ranked."""
        found = {"entropy": self.entropy, "activations": self.mean}
        for number, seen in enumerate(monitor.measured):
            right = seen.places.right
            found[f"loss/{number}"] = softplus(-right * seen.places.difference)[right != 0]
        return found

    def scores(self, raw: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """The scores of one look."""
        known = self.known
        losses = [raw[f"loss/{n}"] for n in range(len(known["level/loss"]))]
        ranked = [
            float(scored(loss[None], known[f"loss/{n}"][None]).mean()) if len(loss) else np.nan
            for n, loss in enumerate(losses)
        ]
        far = drift(raw["activations"], known["centre"], known["spread"])[None, None]
        return {
            "loss": np.array(ranked),
            "entropy": np.array([float(two_sided(raw["entropy"], known["entropy"]).mean())]),
            "activations": np.array([float(scored(far, known["activations"][None])[0, 0])]),
        }

    def look(self, monitor: Monitor) -> list[str]:
        """Take a look; the signals that raise an alarm, which begin anew."""
        found = []
        for name, x in self.scores(self.raw(monitor)).items():
            if self.detectors[name].look(x) >= 1:
                self.detectors[name].restart()
                found.append(name)
        return found


def drift(mean: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    """How far the mean activations of a look are from their usual, over all nodes that vary."""
    live = spread > 1e-6
    return ((mean - centre)[live] / spread[live]).abs().mean()


def fitted(model: Model, monitor: Monitor, pieces: Iterable[Piece], most: int) -> dict[str, Tensor]:
    """The baselines' reference: three parts of the same text, as for the monitor's own."""
    count, widths = len(monitor.circuits), site_widths(model.network.config)
    one, zero = torch.full((count,), 0.5), torch.zeros(0)
    empty = {"level/loss": one, "level/entropy": one[:1], "level/activations": one[:1]}
    probe = Baselines(model, empty)
    rows: list[list[dict[str, Tensor]]] = [[], [], []]
    texts = texts_of(model.tokenizer, pieces, most)
    cutters = [Cutter(model.network.config.context) for _ in range(3)]
    for one, part in zip(texts, parts([(t.document, len(t.ids)) for t in texts]), strict=True):
        for look in cutters[part].add(one.ids, one.ends):
            monitor.look(look, probe.also, list(widths))
            rows[part].append(probe.raw(monitor))
    first, second, third = rows
    means = torch.stack([row["activations"] for row in first])
    centre, spread = means.mean(0), means.std(0)
    far = [drift(row["activations"], centre, spread) for row in second]
    known = {"centre": centre, "spread": spread, "activations": torch.stack(far).sort().values}
    known["entropy"] = torch.cat([row["entropy"] for row in second]).sort().values
    for n in range(count):
        losses = [zero, *(row[f"loss/{n}"] for row in second)]
        known[f"loss/{n}"] = torch.cat(losses).sort().values
    ranked = [Baselines(model, known | empty).scores(row) for row in third]
    for name, weight in zip(BASELINES, (np.full(count, 1 / count), *[np.ones(1)] * 2), strict=True):
        x = np.stack([row[name] for row in ranked])
        levels, slack, measured = calibrated_levels(x, weight, RUN_LENGTH)
        known[f"level/{name}"] = torch.from_numpy(levels).float()
        print(
            f"<!-- {name}: slack {slack:g}, an alarm every {measured:,.0f} tokens -->", flush=True
        )
    return known


def looks(model: Model, documents: Iterable[list[int]]) -> Iterator[Windows]:
    """Looks of some documents."""
    cutter = Cutter(model.network.config.context)
    for ids in documents:
        yield from cutter.add(ids, ends=True)
