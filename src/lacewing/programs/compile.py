"""From a circuit to the lines of its program: what is constant is computed once and for all.

    outside nodes       constants, folded into biases
    residual stream     embedding + ablation values + what kept nodes write; a channel that no kept
                        node writes to depends on the token alone, so a norm needs one number per
                        token for all such channels: the sum of their squares
    first reads         functions of the token alone: a table each
    AbsTopK             as little of it as cannot be proved never to bite (see `rivals`)
    heads without live  constants, or with a sink functions of the position
    queries, keys, values

Exact for every sequence of tokens, up to rounding and ties of 1e-7.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from lacewing.circuit.circuit import Circuit
from lacewing.circuit.edges import Nodes
from lacewing.errors import ConfigError, MismatchError
from lacewing.model.config import ModelConfig
from lacewing.model.sites import FINAL_SITE
from lacewing.model.store import Model
from lacewing.model.transformer import Block, Transformer, own
from lacewing.model.weights import writers
from lacewing.programs.heads import Heads
from lacewing.programs.lines import (
    Line,
    Linear,
    Plan,
    Scale,
    Table,
    Term,
    gelu,
    nodes_of,
    without_idle,
)
from lacewing.programs.reads import Stage, read_lines
from lacewing.programs.reference import constants_of
from lacewing.programs.rivals import Bounds, Rows, keep_line

EPS = float(np.finfo(np.float32).eps)
"""What torch's RMSNorm adds to the mean square of float32 values."""


def compile_plan(model: Model, circuit: Circuit) -> Plan:
    """The lines that compute a circuit's answer logits.

    Raises:
        ConfigError: the circuit was found under resample ablation, which depends on another prompt,
            or is one of heads and MLPs, whose reads and writes all vary.
        MismatchError: it belongs to another model.
    """
    circuit.check(model)
    if circuit.parts is not None:
        raise ConfigError(
            "no program can be written for a circuit of another tool: it says nothing of the reads "
            "and writes of its heads and MLPs, so all of the residual stream varies"
        )
    ablation_values = constants_of(model, circuit)
    arrays = {key: _array(values) for key, values in ablation_values.items()}
    network = own(model.network, "a program of a circuit")
    return _Compiler(network, circuit, arrays).plan()


class _Compiler:
    """Walks through the network once, with the residual stream in hand."""

    def __init__(
        self, network: Transformer, circuit: Circuit, ablation_values: Mapping[str, np.ndarray]
    ) -> None:
        self.network, self.config, self.circuit = network, network.config, circuit
        self.nodes: Nodes = circuit.nodes
        self.ablation_values = ablation_values
        self.lines: list[Line] = []
        self.bounds: Bounds = {}
        self.embedding = _array(network.wte.weight)
        self.filled = np.zeros(self.config.d_model)
        """Sum of the constants written so far, per channel."""
        self.written: dict[int, list[str]] = {}
        """For every channel that varies with more than the token: the kept writes into it."""
        _check(self.config)
        normed = network.normed_positions(self.config.context)
        self.positions = None if normed is None else _array(normed)

    def plan(self) -> Plan:
        """All lines, and the answers."""
        for layer, block in enumerate(self.network.blocks):
            assert isinstance(block, Block)
            self._block(layer, block)
        answers = self._answers()
        lines = without_idle(self.lines, answers)
        present = set(nodes_of(lines))
        idle = tuple(node for node in self.circuit.node_names() if node not in present)
        return Plan(lines, answers, self.config.context, idle)

    def _block(self, layer: int, block: Block) -> None:
        matrices = self._cut(layer, block)
        self._read(layer, "attn_in", _array(block.ln_1.weight), block.ln_p1)
        for site in ("attn_q", "attn_k", "attn_v"):
            self._map(layer, "attn_in", site, *matrices[site])
        heads = Heads(
            layer, block, self.nodes, self.ablation_values, self.bounds, *matrices["attn_out"]
        )
        self.lines += heads.lines
        self._site(layer, "attn_out", heads.rows())
        self._write(layer, "attn_out")
        self._read(layer, "mlp_in", _array(block.ln_2.weight), block.ln_p2)
        self._map(layer, "mlp_in", "mlp_neuron", *matrices["mlp_neuron"], gelu=True)
        self._map(layer, "mlp_neuron", "mlp_out", *matrices["mlp_out"])
        self._write(layer, "mlp_out")

    def _cut(self, layer: int, block: Block) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The block's matrices and biases, with cut edges moved into the bias as constants."""
        found = {}
        for family, pairs in self.circuit.edges.items():
            of, _, ends = family.partition(".")
            if int(of) == layer:
                source, site = ends.split("-")
                weight, bias = (_array(t) for t in writers(block)[site])
                rows, columns = self.nodes[f"{layer}.{site}"], self.nodes[f"{layer}.{source}"]
                cut = np.zeros(weight.shape, dtype=bool)
                cut[np.ix_(rows, columns)] = True
                cut[pairs[:, 1], pairs[:, 0]] = False
                gone = np.where(cut, weight, 0.0)
                found[site] = weight - gone, bias + gone @ self.ablation_values[f"{layer}.{source}"]
        return found

    def _read(self, layer: int, site: str, gain: np.ndarray, position_gain: Tensor | None) -> None:
        key, positions = f"{layer}.{site}", self.positions
        if positions is not None and position_gain is not None:
            positions = positions * _array(position_gain)
        if not len(self.nodes[key]):
            return
        stage = Stage(
            key=key,
            kept=self.nodes[key],
            gain=gain,
            static=self.embedding + self.filled,
            embedding=self.embedding,
            filled=self.filled,
            written=self.written,
            positions=positions,
            keep=self.config.survivors(site, self.config.d_read),
            eps=EPS,
        )
        self.lines += read_lines(stage, self.bounds)

    def _map(
        self,
        layer: int,
        source: str,
        site: str,
        weight: np.ndarray,
        bias: np.ndarray,
        gelu: bool = False,
    ) -> None:
        """A linear map from one site to another: a line per kept node, then AbsTopK."""
        live, ablation_value = (
            self.nodes[f"{layer}.{source}"],
            self.ablation_values[f"{layer}.{source}"],
        )
        rest = ablation_value.copy()
        rest[live] = 0
        terms = [Term(1.0, f"{layer}.{source}.{channel}") for channel in live]
        self._site(layer, site, Rows(terms, weight[:, live], bias + weight @ rest, gelu))

    def _site(self, layer: int, site: str, rows: Rows) -> None:
        key = f"{layer}.{site}"
        kept = self.nodes[key]
        names = [f"{key}.{channel}" for channel in kept]
        keep = self.config.survivors(site, len(rows.constant))
        masses = self._masses()
        if len(kept) and all(t.look is None and t.name in masses for t in rows.terms):
            self._by_position(key, rows, keep, masses)
            return
        for name, channel in zip(names, kept, strict=True):
            self.lines += self._drift(rows.line(int(channel), name, node=name))
            self.bounds[name] = rows.bounds(int(channel), self.bounds)
        if keep is not None and len(kept):
            thinning = keep_line(key, rows, kept, keep, self.bounds)
            if thinning is not None:
                self.lines.append(thinning)
                for name in names:
                    low, high = self.bounds[name]
                    self.bounds[name] = min(low, 0.0), max(high, 0.0)

    def _drift(self, line: Linear) -> list[Line]:
        """A line, with all it takes from heads that have nothing live in one table by position."""
        masses = self._masses()
        still = [t for t in line.terms if t.look is None and t.name in masses]
        if not still:
            return [line]
        name = f"drift {line.name}"
        total = sum(t.weight * masses[t.name or ""] for t in still)
        rest = tuple(t for t in line.terms if t not in still)
        table = Table(name, np.asarray(total), by_position=True)
        return [table, dataclasses.replace(line, terms=(*rest, Term(1.0, name)))]

    def _masses(self) -> dict[str, np.ndarray]:
        """Tables by position of heads with nothing live."""
        return {
            line.name: line.values
            for line in self.lines
            if isinstance(line, Table) and line.name.startswith("mass ")
        }

    def _by_position(
        self, key: str, rows: Rows, keep: int | None, masses: Mapping[str, np.ndarray]
    ) -> None:
        """A site where nothing varies but the position: tables, AbsTopK already in them."""
        every = np.tile(rows.constant, (self.config.context, 1))
        for term, weights in zip(rows.terms, rows.weight.T, strict=True):
            every = every + term.weight * masses[term.name or ""][:, None] * weights
        if rows.gelu:
            every = gelu(every)
        if keep is not None:
            order = np.argsort(-np.abs(every), axis=1, kind="stable")
            np.put_along_axis(every, order[:, keep:], 0.0, axis=1)
        for channel in self.nodes[key].tolist():
            name, column = f"{key}.{channel}", every[:, channel]
            self.lines.append(Table(name, column, by_position=True, node=name))
            self.bounds[name] = float(column.min()), float(column.max())

    def _write(self, layer: int, site: str) -> None:
        key = f"{layer}.{site}"
        ablation_value = self.ablation_values[key].copy()
        ablation_value[self.nodes[key]] = 0
        self.filled = self.filled + ablation_value
        for channel in self.nodes[key].tolist():
            self.written.setdefault(channel, []).append(f"{key}.{channel}")

    def _answers(self) -> dict[int, str]:
        """The lines from the final residual to the answers' logits."""
        network, kept, ablation_value = (
            self.network,
            self.nodes[FINAL_SITE],
            self.ablation_values[FINAL_SITE],
        )
        gain, head = _array(network.ln_f.weight), _array(network.lm_head.weight)
        rest = ablation_value.copy()
        rest[kept] = 0
        names = []
        for channel in kept.tolist():
            name = f"{FINAL_SITE}.{channel}"
            names.append(name)
            terms = [Term(1.0, f"embedding {channel}")]
            self.lines.append(Table(f"embedding {channel}", self.embedding[:, channel]))
            terms += [Term(1.0, write) for write in self.written.get(channel, [])]
            self.lines.append(Linear(name, tuple(terms), float(self.filled[channel]), node=name))
        scale = "rms final"
        squares = float(np.square(rest).sum())
        self.lines.append(Scale(scale, None, squares, tuple(names), self.config.d_model, EPS))
        answers = {}
        for token in self.circuit.answers:
            weight = head[token] * gain
            terms = [Term(float(weight[c]), n) for c, n in zip(kept, names, strict=True)]
            self.lines.append(
                Linear(
                    f"unembedded {token}",
                    tuple(t for t in terms if t.weight),
                    float(weight @ rest),
                    over=scale,
                )
            )
            answers[token] = self._logit(token)
        return answers

    def _logit(self, token: int) -> str:
        """The line that adds the bigram table and the calibration to an answer's logit."""
        terms, name = [Term(1.0, f"unembedded {token}")], f"logit {token}"
        if self.network.bigram is not None:
            column = _array(self.network.bigram[:, token])
            self.lines.append(Table(f"bigram {token}", column))
            terms.append(Term(1.0, f"bigram {token}"))
        given = self.network.output_bias
        scale, bias = 1.0, 0.0 if given is None else float(given[token])
        if self.circuit.calibration is not None:
            scale = self.circuit.calibration.scale
            bias = scale * bias + self.circuit.calibration.bias.get(token, 0.0)
        scaled = tuple(Term(scale * t.weight, t.name) for t in terms)
        self.lines.append(Linear(name, scaled, bias))
        return name


def _check(config: ModelConfig) -> None:
    """Refuse what the lines of a program cannot say.

    Raises:
        MismatchError: naming it.
    """
    unknown = {
        "positions added to the embedding": config.added_positions,
        "AbsTopK on the residual stream": not config.linear_residual,
        "neurons other than GELU": config.activation != "gelu",
    }
    for what, there in unknown.items():
        if there:
            raise MismatchError(
                f"no program can be written for a model with {what}: its circuits can be pruned, "
                "verified and viewed"
            )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float64)
