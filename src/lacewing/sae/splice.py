"""A model whose nodes are latents: `lacewing.load("sae:FOLDER")`.

At every site that has an autoencoder, the value is written as

    value = decode(latents) + error

Each latent is a node, and so is each channel of the error term: those come after the latents, and a
circuit that needs them says by their number what the autoencoder misses. With everything on, the
model is the model, to the bit; with everything ablated, the sites have their means. Sites without
an autoencoder have no nodes and run freely, so that a circuit says nothing of them.

Nothing else changes: the model's own network runs, with edits at its sites.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lacewing.errors import ArtifactError, ConfigError
from lacewing.model.families import WRITERS
from lacewing.model.hooks import edit
from lacewing.model.protocol import Head, Network, Norm, SiteHook
from lacewing.model.registry import SPLICED
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, model_id
from lacewing.model.store import load as load_model
from lacewing.sae import folder as saved
from lacewing.sae.autoencoder import Autoencoder

SIZES = ("n_layer", "d_model", "d_read", "d_head", "d_mlp", "n_head", "n_key_head", "vocab_size")


@dataclass(frozen=True)
class LatentShape:
    """The sizes of a model, and how many nodes each of its sites has."""

    n_layer: int
    d_model: int
    d_read: int
    d_head: int
    d_mlp: int
    n_head: int
    n_key_head: int
    vocab_size: int
    context: int
    latents: dict[str, int]
    """By site key: latents and error channels where there is an autoencoder, elsewhere 0."""


class _Spliced(nn.Module):
    """One autoencoder's numbers at their site."""

    def __init__(self, sae: Autoencoder) -> None:
        super().__init__()
        self.sae = sae
        for name, tensor in sae.tensors().items():
            self.register_buffer(name, tensor)

    def nodes(self, read: Tensor, value: Tensor) -> Tensor:
        """Latents and error term, of what is read and what is there."""
        latents = self.sae.encode(read)
        return torch.cat([latents, value - self.sae.decode(latents)], dim=-1)

    def value(self, nodes: Tensor) -> Tensor:
        """What the site has when its nodes have these values."""
        count = self.sae.latents
        return self.sae.decode(nodes[..., :count]) + nodes[..., count:]

    def running(self, mask: Tensor, constants: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """As `nodes` and `value` where only some nodes run, without what others are decoded to.

        Args:
            mask: Those that run, [node].
            constants: What stands for the others, [node].

        Returns:
            From what is read and what is there to what the site has.
        """
        count, decoder = self.sae.latents, self.sae.decoder
        latents, errors = mask[:count].nonzero()[:, 0], mask[count:].nonzero()[:, 0]
        rest = self.value(torch.where(mask, 0, constants))
        rows, columns, bias = decoder[latents], decoder[:, errors], self.sae.decoder_bias[errors]

        def value(read: Tensor, there: Tensor) -> Tensor:
            found = self.sae.encode(read)
            new = found[..., latents] @ rows + rest
            if len(errors):
                new[..., errors] += there[..., errors] - found @ columns - bias
            return new

        return value


class SplicedNetwork(nn.Module):
    """A network with autoencoders at some sites; see `protocol.Network`."""

    def __init__(self, inner: Network, saes: Sequence[Autoencoder]) -> None:
        """Put autoencoders over a network, which is not changed.

        Args:
            inner: It.
            saes: One for each site.
        """
        super().__init__()
        self.inner: Any = inner
        self.hooks: dict[str, list[SiteHook]] = {}
        self._at = {sae.site: _Spliced(sae) for sae in saes}
        self.places = nn.ModuleList(self._at.values())
        channels = site_widths(inner.config)
        widths = {
            key: self._at[key].sae.latents + width if key in self._at else 0
            for key, width in channels.items()
        }
        sizes = {name: getattr(inner.config, name) for name in SIZES}
        self.config = LatentShape(**sizes, context=inner.config.context, latents=widths)

    @property
    def counts(self) -> dict[str, int]:
        """Latents by site; a site's nodes beyond them are its error channels."""
        return {key: sae.latents for key, sae in self.saes.items()}

    @property
    def saes(self) -> dict[str, Autoencoder]:
        """The autoencoders by site."""
        return {key: place.sae for key, place in self._at.items()}

    def forward(
        self, tokens: Int[Tensor, "batch token"], at: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch token vocab"] | Float[Tensor, "batch vocab"]:
        """Next-token logits, at every token or with `at` at one of each sequence."""
        with edit(self.inner, self._edits()):
            logits: Tensor = self.inner(tokens, at)
        return logits

    def _edits(self) -> dict[str, SiteHook]:
        """What happens at the inner network's sites while somebody looks."""
        seen: dict[str, Tensor] = {}

        def look(key: str, value: Tensor) -> Tensor:
            seen[key] = value
            return value

        looked = [key for key in self.config.latents if self.hooks.get(key)]
        edits: dict[str, SiteHook] = {}
        for key in looked:
            if key in self._at:
                reads = self._at[key].sae.reads
                if reads != key:
                    edits[reads] = partial(look, reads)
        for key in looked:
            passed = partial(self._passed, key, seen)
            edits[key] = _after(edits.get(key), passed)
        return edits

    def _passed(self, key: str, seen: Mapping[str, Tensor], value: Tensor) -> Tensor:
        """A site's value after the hooks on its nodes."""
        if key not in self._at:
            nothing = value[..., :0]
            for hook in self.hooks[key]:
                hook(nothing)
            return value
        place = self._at[key]
        reads = place.sae.reads
        nodes = place.nodes(value if reads == key else seen[reads], value)
        changed = nodes
        for hook in self.hooks[key]:
            changed = hook(changed)
        return value if changed is nodes else place.value(changed)

    def ablating(
        self, masks: Mapping[str, Tensor], constants: Mapping[str, Tensor]
    ) -> dict[str, SiteHook]:
        """Edits of the inner network under which only some nodes run.

        Up to rounding the same as hooks that replace the others, and quicker: what is replaced is
        not decoded.

        Args:
            masks: By site, the nodes that run, [node].
            constants: By site, what stands for the others, [node].
        """
        seen: dict[str, Tensor] = {}

        def look(key: str, value: Tensor) -> Tensor:
            seen[key] = value
            return value

        edits: dict[str, SiteHook] = {}
        for place in self._at.values():
            if place.sae.is_transcoder:
                edits[place.sae.reads] = partial(look, place.sae.reads)
        for key, place in self._at.items():
            if bool(masks[key].all()):  # then the site has what it has, to the bit
                continue
            made = place.running(masks[key], constants[key])
            edits[key] = _after(edits.get(key), partial(_made, made, place.sae, seen))
        return edits

    @property
    def spared(self) -> int:
        """As the inner network's."""
        return int(self.inner.spared)

    def joined(self, layer: int) -> dict[str, Tensor]:
        """No weight joins two latents: [destination, source] of none."""
        widths = self.config.latents
        return {
            site: torch.zeros(
                widths[f"{layer}.{site}"], self._source(layer, site), dtype=torch.bool
            )
            for site in self.inner.joined(layer)
        }

    def _source(self, layer: int, site: str) -> int:
        return self.config.latents[f"{layer}.{WRITERS[site].reads}"]

    def biases(self, layer: int) -> dict[str, Tensor]:
        """None that belongs to a node."""
        return {}

    def embedding(self) -> Float[Tensor, "vocab channel"]:
        """The inner network's."""
        table: Tensor = self.inner.embedding()
        return table

    def unembedding(self) -> Float[Tensor, "vocab channel"]:
        """The inner network's."""
        table: Tensor = self.inner.unembedding()
        return table

    def attention(
        self, seen: Mapping[str, Tensor], last: Tensor, heads: Sequence[Head]
    ) -> dict[Head, Tensor]:
        """Latents are no queries and keys, so that no head can be looked at.

        Raises:
            ConfigError: some head is asked for.
        """
        if heads:
            raise ConfigError("nodes are latents here: look at heads in the model under them")
        return {}

    def norms(self) -> Mapping[str, Norm]:
        """The inner network's."""
        found: Mapping[str, Norm] = self.inner.norms()
        return found

    def pairs_at_once(self, tokens: int) -> int | None:
        """As many as go through the inner network, less where latents take their room."""
        most: int | None = self.inner.pairs_at_once(tokens)
        held = 16 * sum(self.config.latents.values()) * 2 * tokens
        fit = max(1, int(LATENTS_HELD / max(1, held)))
        return fit if most is None else min(most, fit)


LATENTS_HELD = 1e9
"""Bytes of latents held for a backward pass."""


def _made(
    made: Callable[[Tensor, Tensor], Tensor],
    sae: Autoencoder,
    seen: Mapping[str, Tensor],
    value: Tensor,
) -> Tensor:
    """A site's value, of what its autoencoder reads there or read before."""
    return made(seen[sae.reads] if sae.is_transcoder else value, value)


def _after(first: SiteHook | None, second: SiteHook) -> SiteHook:
    if first is None:
        return second
    return lambda value: second(first(value))


def load(source: str) -> Model:
    """Open `sae:FOLDER`: the model of the autoencoders, with latents as nodes.

    Raises:
        ArtifactError: the folder, or the model it names, is missing or damaged.
        MismatchError: the autoencoders are of another model, tokenizer or width.
    """
    folder = Path(source.removeprefix(SPLICED))
    facts = saved.facts_of(folder)
    named = saved.source_of(folder, facts)
    if named.startswith(SPLICED):
        raise ArtifactError(f"{folder} is of {named:.200}, whose nodes are latents: damaged")
    model = load_model(named)
    return spliced(model, saved.read(folder, model), source)


def spliced(model: Model, saes: saved.Autoencoders, source: str) -> Model:
    """A model with its autoencoders, as a model.

    Args:
        model: The model as it is.
        saes: Its autoencoders.
        source: What opens it, such as sae:FOLDER.
    """
    network = SplicedNetwork(model.network, saes.saes)
    network.eval().requires_grad_(False)
    means = {key: torch.zeros(0) for key in network.config.latents}
    for sae in saes.saes:
        latents = saes.means[sae.site]
        error = model.means[sae.site] - sae.decode(latents)
        means[sae.site] = torch.cat([latents, error])
    return dataclasses.replace(
        model,
        network=network,
        means=means,
        # Of what is stored alone: sums over channels differ in their last bits with the threads.
        id=model_id(network, saes.means, model.tokenizer, more=model.id),
        source=source,
        name=f"{model.name or model.source} + latents",
    )
