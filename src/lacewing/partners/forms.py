"""The model of every form of a task, checked against each other before anything is done."""

from pathlib import Path

import torch

from lacewing.bridges.folder import Coupling
from lacewing.bridges.latents import as_latents, autoencoders
from lacewing.errors import ConfigError, MismatchError
from lacewing.model.registry import SPLICED
from lacewing.model.sites import site_widths
from lacewing.model.store import Model, same_model, weights_id
from lacewing.partners.cells import FORMS, Form
from lacewing.sae import folder as saved
from lacewing.sae.config import SaeConfig
from lacewing.sae.splice import spliced

LATENTS = "bridge-latents"
"""The folder of what the bridges say of the dense model."""


class Models:
    """The models of all forms; that of the bridges is made when it is first needed."""

    def __init__(
        self,
        sparse: Model,
        dense: Model,
        latents: Path | None,
        coupling: Coupling | None,
        output: Path,
        corpus: str,
        *,
        quiet: bool = False,
    ) -> None:
        """Check that they belong together.

        Args:
            sparse: The weight-sparse model.
            dense: The dense one.
            latents: Folder of the dense model's autoencoders.
            coupling: Bridges from the dense model.
            output: Where the bridges' latents are kept.
            corpus: Text that the means of those are taken over.
            quiet: Report no progress.

        Raises:
            MismatchError: autoencoders or bridges are of another model.
        """
        self.coupling, self.folder, self.corpus = coupling, output / LATENTS, corpus
        self.quiet = quiet
        self._there: dict[Form, Model] = {"sparse": sparse, "dense": dense}
        if latents is not None:
            saes = saved.read(latents, dense)
            self._there["latents"] = spliced(dense, saes, f"{SPLICED}{latents}")
        if coupling is not None and not same_model(coupling.dense.id, dense.id):
            raise MismatchError(
                f"the bridges are from {coupling.dense.source}, model {coupling.dense.id}, not "
                f"from {dense.source}, model {dense.id}: train bridges for this one"
            )
        bridged = ("bridged",) if coupling is not None else ()
        self.forms: tuple[Form, ...] = tuple(f for f in FORMS if f in {*self._there, *bridged})

    def source(self, form: Form) -> str:
        """What opens the model of a form."""
        return f"{SPLICED}{self.folder}" if form == "bridged" else self._there[form].source

    def id(self, form: Form) -> str:
        """Which model a form is of; of the bridged one, which bridges."""
        if form == "bridged":
            assert self.coupling is not None
            return weights_id(self.coupling.bridges)
        return self._there[form].id

    def of(self, form: Form) -> Model:
        """The model of a form.

        Raises:
            ConfigError: the folder holds latents of other bridges.
        """
        if form not in self._there:
            self._there[form] = self._bridged()
        return self._there[form]

    def shared(self) -> set[str]:
        """Sites where every form of the dense model has nodes; bridges stand at known ones."""
        found = set(site_widths(self._there["dense"].network.config))
        if "latents" in self._there:
            widths = site_widths(self._there["latents"].network.config)
            found &= {key for key, width in widths.items() if width}
        if self.coupling is not None:
            found &= {sae.site for sae in autoencoders(self.coupling)}
        return found

    def _bridged(self) -> Model:
        assert self.coupling is not None
        if not self.folder.exists():
            as_latents(self.coupling, self.folder, SaeConfig(), self.corpus, quiet=self.quiet)
        dense = self._there["dense"]
        saes = saved.read(self.folder, dense)
        wanted = {sae.site: sae.decoder for sae in autoencoders(self.coupling)}
        for sae in saes.saes:
            if not torch.equal(sae.decoder, wanted.get(sae.site, torch.zeros(0))):
                raise ConfigError(
                    f"{self.folder} holds what other bridges say at {sae.site}: choose another "
                    "--output; nothing was written"
                )
        return spliced(dense, saes, f"{SPLICED}{self.folder}")
