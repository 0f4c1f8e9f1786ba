"""`lacewing sae`: sparse autoencoders at some sites of a model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from lacewing.cli.flags import AnyModel, Json
from lacewing.cli.tables import Table, under
from lacewing.errors import ConfigError
from lacewing.sae.config import SaeConfig

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Sae:
    """Train sparse autoencoders, whose latents are nodes: prune --model sae:OUTPUT."""

    model: AnyModel
    site: tyro.conf.UseAppendAction[tuple[str, ...]]
    """Where, such as 3.mlp_out; given several times, they are trained in one pass over the text."""
    output: Path
    """Folder of the autoencoders; must not exist. OUTPUT.unfinished is where the same command goes
    on after an interruption."""
    corpus: str | None = None
    """Text to train on; by default the model's corpus."""
    adopt: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Folders of SAELens, one for each site: measured and saved instead of trained."""
    config: tyro.conf.OmitArgPrefixes[SaeConfig] = field(default_factory=SaeConfig)
    json: Json = False
    """End with one JSON object on standard output."""

    def run(self) -> dict[str, Any]:
        """Train, or adopt, and measure."""
        from dataclasses import asdict

        from lacewing.model.store import load
        from lacewing.sae.train import adopt, train

        if self.adopt and len(self.adopt) != len(self.site):
            raise ConfigError(
                f"{len(self.adopt)} folders for {len(self.site)} sites: name one --adopt folder "
                "for each --site"
            )
        model = load(self.model)
        if self.adopt:
            folders = dict(zip(self.site, self.adopt, strict=True))
            facts = adopt(model, folders, self.output, self.config, self.corpus)
        else:
            facts = train(model, self.site, self.output, self.config, self.corpus)
        return asdict(facts) | {"output": str(self.output)}

    @staticmethod
    def show(result: dict[str, Any]) -> "RenderableType":
        """The four figures of every site, with their controls."""
        rows, controls = [], []
        for one in result["figures"]:
            rows.append(
                [
                    one["site"],
                    f"{one['latents']:,}",
                    _shown(one["loss_recovered"], ".3f"),
                    _shown(one["recovered_from_mean"], ".3f"),
                    _shown(one["l0"], ".1f"),
                    _shown(one["dead_share"], ".1%"),
                    _shown(one["explained_variance"], ".3f"),
                ]
            )
            losses = {name: f"{loss['value']:.3f}" for name, loss in one["losses"].items()}
            controls.append(
                f"{one['site']}: {losses['full']} nats per token as it is, {losses['spliced']} "
                f"with what the latents say, {losses['zero']} at zero, {losses['mean']} at its mean"
            )
        columns = ["site", ">latents", ">loss recovered [95 %]", ">from mean [95 %]"]
        columns += [">L0", ">dead", ">explained variance"]
        first = result["figures"][0]
        learned = f"{result['tokens']:,} tokens, {result['seconds']:.0f} s; " * bool(
            result["tokens"]
        )
        return under(
            Table(columns, rows),
            *controls,
            f"{learned}held out: {first['tokens']:,} tokens in {first['windows']} windows, "
            f"seed {first['seed']}",
            f"nodes: lacewing prune --model sae:{result['output']} --task TASK --output CIRCUIT",
        )


def _shown(figure: dict[str, Any], form: str) -> str:
    """A number with its interval."""
    low, high = figure["interval"]
    return f"{figure['value']:{form}} [{low:{form}}, {high:{form}}]"
