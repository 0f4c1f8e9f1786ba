"""The report as one HTML page: no file beside it is needed, and nothing is fetched."""

from collections.abc import Mapping
from html import escape
from typing import Any

from lacewing.model.weights import FLOOR_AXIS
from lacewing.pages import svg
from lacewing.verification.finding import YES

SITES_NOTE = (
    "Rows are sites, from what the first block reads (bottom) to the last residual stream (top). Blue weights are "
    "positive, orange dashed ones negative. Grey lines follow a residual channel from where it is written to where it "
    "is read; they are no edges. Hover a dot or a line."
)


def page(data: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        data: What `gather` collected.
        figures: SVG by name: training, comparison, circuit-TASK, verification-TASK.
    """
    parts = [_head(data), _facts(data)]
    parts += [f'<p class="missing">{_code(sentence)}</p>' for sentence in data["missing"]]
    if data["tasks"]:
        parts.append(_section("What it has learned", _tasks(data["tasks"])))
    parts += [_circuit(c, figures) for c in data["circuits"]]
    if data["comparison"]:
        parts.append(_section("Against a dense model of equal skill", _comparison(data, figures)))
    parts.append(_section("Training", _training(data, figures)))
    parts.append(_section("What the numbers mean", NOTES))
    if data["commands"]:
        commands = "\n".join(f"$ {escape(c)}" for c in data["commands"])
        parts.append(_section("The commands that made this", f"<pre>{commands}</pre>"))
    return DOCUMENT.format(
        title=f"lacewing: {escape(data['run'])}",
        style=_style(),
        body="".join(parts),
        script=SCRIPT,
    )


def _head(data: Mapping[str, Any]) -> str:
    model, training = data["config"]["model"], data["config"]["training"]
    density = training["density"]
    kind = (
        f"{density:.3g} of the weights of each block matrix"
        if density < 1
        else "all weights (dense)"
    )
    return (
        f'<header><button id="theme" aria-label="switch between light and dark">light / dark</button>'
        f"<h1>A model you can read</h1><p>{model['n_layer']} layers, {model['d_model']} channels, {kind}; "
        f"trained on <code>{escape(data['config']['corpus'])}</code> with seed {training['seed']}. Model "
        f"<code>{data['summary']['id']}</code>.</p></header>"
    )


def _facts(data: Mapping[str, Any]) -> str:
    tasks, circuits = data["tasks"] or [], data["circuits"]
    verified = [c for c in circuits if c["short_test_passed"]]
    facts = [
        (f"{data['summary']['validation_loss']:.2f}", "nats per token on validation text"),
        (f"{_zero_share(data):.1%}", "of each block matrix is zero, at least"),
        (f"{sum(t['learned'] for t in tasks)} of {len(tasks)}", "tasks learned to under 0.15 nats"),
        (f"{len(verified)} of {len(circuits)}", "circuits pass 2 of 2 short tests"),
    ]
    if data["comparison"]:
        edges = data["comparison"]["edges"]
        low, high = edges["interval"]
        facts.append((f"{edges['ratio']:.1f}x", f"fewer edges than dense [{low:.1f}, {high:.1f}]"))
    cells = "".join(f"<div><b>{value}</b><span>{label}</span></div>" for value, label in facts)
    return f'<div class="facts">{cells}</div>'


def _zero_share(data: Mapping[str, Any]) -> float:
    return 1 - max(d for _, d in block_densities(data["summary"]))


def block_densities(summary: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The densities of the block matrices alone."""
    matrices = tuple(f"{name}.weight" for name in FLOOR_AXIS)
    return [(n, d) for n, d in summary["densities"].items() if n.endswith(matrices)]


def _tasks(rows: list[dict[str, Any]]) -> str:
    cells = []
    for row in sorted(rows, key=lambda r: r.get("loss", 9.0)):
        if "loss" not in row:
            cells.append(
                f"<tr><td>{escape(row['name'])}</td><td colspan=5>{escape(row['error'])}</td></tr>"
            )
            continue
        low, high = row["interval"]
        cells.append(
            f"<tr><td><b>{escape(row['name'])}</b><br><span class=soft>{escape(row['description'])}</span></td>"
            f"<td>{'learned' if row['learned'] else 'not learned'}</td><td class=n>{row['loss']:.3f}</td>"
            f"<td class=n>{low:.3f} to {high:.3f}</td><td class=n>{row['accuracy']:.1%}</td><td class=n>{row['pairs']}</td></tr>"
        )
    head = "<tr><th>task</th><th></th><th>loss, nats</th><th>95 % interval</th><th>accuracy</th><th>pairs</th></tr>"
    return f'<div class="wide"><table>{head}{"".join(cells)}</table></div>'


def _circuit(circuit: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    name, edges, losses = circuit["task"], circuit["edges"], circuit["losses"]
    example = circuit["example"]
    parts = [
        f"<p>{circuit['nodes']} nodes, {edges['paper']} edges ({edges['all']} with embedding, unembedding and biases). "
        f"Test loss {losses['circuit']:.3f} nats; full model {losses['full']:.3f}; target {circuit['target_loss']:g}; "
        f"chosen at {circuit['chosen_at']:g} on validation prompts ({losses['validation']:.3f}); seed {circuit['seed']}.</p>",
        _prompts(example),
        f'<figure class="wide">{figures[f"circuit-{name}"]}</figure><p class=soft>{SITES_NOTE}</p>',
    ]
    found = circuit["verification"]
    if found:
        parts.append(f'<figure class="wide">{figures[f"verification-{name}"]}</figure>')
        parts.append(f"<p>{escape(circuit['short_test'])}</p><ul>")
        for test in ("sufficient", "necessary"):
            verdict = YES[found[test]["verdict"]]
            parts.append(f"<li><b>{test}: {verdict}</b>. {escape(found[test]['reason'])}.</li>")
        parts.append("</ul>" + _suite(found))
        parts.append(
            f"<p class=soft>{found['pairs']} test pairs; bootstrap and random circuits seeded {found['seed']}.</p>"
        )
    else:
        parts.append(
            f'<p class="missing">Not verified: run <code>lacewing verify --circuit {escape(circuit["folder"])}</code>.</p>'
        )
    return _section(f"Circuit: {escape(name)}", "".join(parts))


def _suite(found: Mapping[str, Any]) -> str:
    """Every test of the faithfulness suite, where it was run; what failed first."""
    if "tests" not in found:
        return ""
    words = {True: "pass", False: "<b>FAIL</b>", None: "unresolved"}
    rank, rows = {False: 0, None: 1, True: 2}, []
    for test in sorted(found["tests"], key=lambda test: rank[test["passed"]]):
        value = "not measured" if test["value"] is None else f"{test['value']:.3f}"
        if test["low"] is not None:
            value += f" [{test['low']:.3f}, {test['high']:.3f}]"
        threshold = f"at {'most' if test['at_most'] else 'least'} {test['threshold']:.3g}"
        control = "" if test["control"] is None else f"{test['control']:.3f} {test['control_name']}"
        rows.append(
            f"<tr><td><b>{escape(test['name'])}</b><br><span class=soft>{escape(test['meaning'])}</span></td>"
            f"<td>{words[test['passed']]}</td><td class=n>{value} {escape(test['unit'])}</td><td class=n>{threshold}</td>"
            f"<td>{escape(control)}</td><td class=n>{test['n']}</td></tr>"
        )
    left = "".join(
        f"<li>left out: {escape(one['name'])}, {escape(one['reason'])}</li>"
        for one in found["left_out"]
    )
    head = "<tr><th>test</th><th></th><th>value, 95 % interval</th><th>threshold</th><th>control</th><th>n</th></tr>"
    return (
        f"<p>The faithfulness suite: <b>{escape(found['verdict'])}</b>.</p>"
        f'<div class="wide"><table>{head}{"".join(rows)}</table></div><ul class=soft>{left}</ul>'
    )


def _prompts(example: Mapping[str, str]) -> str:
    shown = []
    for side in ("clean", "corrupted"):
        tail = "\n".join(example[side].split("\n")[-3:])
        answer = escape(repr(example[f"{side}_answer"]))
        shown.append(f"<pre>{escape(tail)}<mark>{answer}</mark></pre>")
    return f'<div class="pair">{"".join(shown)}</div>'


def _comparison(data: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    found = data["comparison"]
    rows = []
    for unit, label in (("edges", "edges"), ("edges_all", "edges, in full"), ("nodes", "nodes")):
        row = found[unit]
        low, high = row["interval"]
        rows.append(
            f"<tr><td>{label}</td><td class=n>{row['sparse']:.0f}</td><td class=n>{row['dense']:.0f}</td>"
            f"<td class=n>{row['ratio']:.1f}</td><td class=n>{low:.1f} to {high:.1f}</td></tr>"
        )
    skipped = "".join(
        f"<li>{escape(s['task'])}: {escape(s['reason'])}</li>" for s in found["skipped"]
    )
    more = (
        f"<details><summary>Tasks left out</summary><ul>{skipped}</ul></details>" if skipped else ""
    )
    return (
        f'<figure class="wide">{figures["comparison"]}</figure><div class="wide"><table><tr><th>per circuit</th><th>sparse</th>'
        f"<th>dense</th><th>dense / sparse</th><th>95 % interval</th></tr>{''.join(rows)}</table></div>"
        f"<p class=soft>Geometric means over {len(found['tasks'])} tasks and {len(found['seeds'])} seed(s), both models pruned "
        f"to {found['target_loss']:g} nats on the same prompts; the interval resamples tasks and seeds.</p>{more}"
    )


def _training(data: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td class=n>{density:.4f}</td></tr>"
        for name, density in data["summary"]["densities"].items()
        if ".weight" in name and "ln" not in name
    )
    return (
        f'<figure class="wide">{figures["training"]}</figure><details><summary>Density of every matrix</summary>'
        f'<div class="wide"><table><tr><th>matrix</th><th>nonzero</th></tr>{rows}</table></div></details>'
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _code(sentence: str) -> str:
    pieces = escape(sentence).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(pieces))


def _style() -> str:
    light = ";".join(f"--{name}:{value}" for name, value in svg.LIGHT.items())
    dark = ";".join(f"--{name}:{value}" for name, value in svg.DARK.items())
    figures = svg.rules({name: f"var(--{name})" for name in svg.LIGHT})
    return (
        f":root{{{light};color-scheme:light dark}}"
        f"@media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}"
        f":root[data-theme=dark]{{{dark}}}{CSS}svg {figures.replace('}', '}svg ').removesuffix('svg ')}"
    )


CSS = """
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.6 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}
main{max-width:860px;margin:0 auto;padding:32px 20px 80px}h1{font-size:34px;line-height:1.2;margin:0 0 8px;font-weight:650}
h2{font-size:22px;margin:56px 0 12px;font-weight:620}code,pre{font:13px/1.5 ui-monospace,'DejaVu Sans Mono',monospace}
code{overflow-wrap:anywhere}
pre{background:color-mix(in srgb,var(--faint) 35%,transparent);padding:12px 14px;border-radius:8px;overflow-x:auto;margin:8px 0}
mark{background:color-mix(in srgb,var(--plus) 25%,transparent);color:inherit;border-radius:3px;padding:0 2px}
header button{float:right;font:inherit;font-size:13px;color:var(--soft);background:none;border:1px solid var(--faint);
border-radius:8px;padding:4px 10px;cursor:pointer}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(145px,1fr));gap:12px;margin:28px 0}
.facts div{border:1px solid var(--faint);border-radius:12px;padding:14px}.facts b{display:block;font-size:26px;line-height:1.2}
.facts span,.soft{color:var(--soft);font-size:13px}.wide{overflow-x:auto;margin:12px 0}figure svg{max-width:none;height:auto}
table{border-collapse:collapse;width:100%;font-size:14px}th{text-align:left;color:var(--soft);font-weight:500}
td,th{padding:7px 12px 7px 0;border-bottom:1px solid var(--faint);vertical-align:top}.n{font-variant-numeric:tabular-nums;
white-space:nowrap}.missing{border-left:3px solid var(--minus);padding-left:12px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:12px}summary{cursor:pointer}
"""

SCRIPT = """
const root=document.documentElement,dark=()=>root.dataset.theme?root.dataset.theme==='dark':
matchMedia('(prefers-color-scheme: dark)').matches;
document.getElementById('theme').onclick=()=>{root.dataset.theme=dark()?'light':'dark'};
"""

NOTES = """<ul>
<li><b>Loss</b> of a task: cross-entropy of the right answer against the wrong one alone, in nats, mean over both members of
every pair. Chance is 0.693. Prompts come from files no model was trained on; masks, sizes and reported losses use
different files.</li>
<li><b>Node</b>: one channel of one site. <b>Edge</b>: a nonzero weight between two kept nodes, counted the paper's way;
"in full" adds embedding, unembedding and biases.</li>
<li>The short tests are two. <b>Sufficient</b>: with everything outside the circuit replaced by its mean over the pretraining text,
the whole 95 % interval of the loss lies at or below the target, and every random circuit of the same size per site loses more, by a
margin whose whole interval lies above zero. <b>Necessary</b>: without the circuit's nodes the whole interval of the full model's
loss lies above half of chance, and no random removal of that size hurts as much, by such a margin. Where an interval straddles its
threshold, the test is unresolved. Only the faithfulness suite, <code>lacewing verify</code>, says that a circuit holds.</li>
<li>A circuit is not unique: another seed may find another one. Mean ablation is one test, not all.</li>
</ul>"""

DOCUMENT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><style>{style}</style></head><body><main>{body}</main><script>{script}</script></body></html>
"""
