"""Models, circuits and records that others write, tiny: what is made of them, and what reads it."""

import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

import micro
from hostile.judge import cli

INTEROP = Path(__file__).resolve().parents[1] / "interop"
"""Where the tests of foreign formats keep what writes them."""
SHORT = ("--target-loss", "0.6", "--prompts", "256", "--batch", "16", "--no-calibrate")


def gpt2(root: Path, place: Path) -> None:
    """A model of transformers in GPT-2's layout, with its means, and a circuit of it beside."""
    _of_transformers(root, place, whole=True)


def llama(root: Path, place: Path) -> None:
    """The same in Llama's layout, in shards."""
    _of_transformers(root, place, whole=False)


def _of_transformers(root: Path, place: Path, whole: bool) -> None:
    import transformers

    torch.manual_seed(0)
    letters = micro.tokenizer()
    sizes = {"vocab_size": letters.vocab_size}
    if whole:
        shape = {"n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **shape))
    else:
        shape = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2}
        shape |= {"num_attention_heads": 2, "num_key_value_heads": 1}
        shape |= {"max_position_embeddings": 16}
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **shape))
    _learn(model, root)
    part = place.with_name(f".{place.name}")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part, max_shard_size="100MB" if whole else "4KB")
    (part / "tokenizer.json").write_bytes(letters.to_bytes())
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (part / "tokenizer_config.json").write_text(json.dumps(said))
    about = {"name": "tiny", "corpus": str(root / "text")}
    (part / "lacewing.json").write_text(json.dumps(about))
    _quietly("tasks", "--run", f"hf:{part}", "--task", str(root / "letters.jsonl"), "--pairs", "8")
    part.rename(place)


def _learn(model: Any, root: Path, steps: int = 120) -> None:
    """Teach a model the letters, so that there is something to be found."""
    letters = micro.tokenizer()
    rows = [json.loads(line) for line in (root / "letters.jsonl").read_text().splitlines()]
    sides = (("clean", "clean_answer"), ("corrupted", "corrupted_answer"))
    texts = [letters.encode(row[a] + row[b]) for row in rows for a, b in sides]
    begin = letters.end_of_text
    last = torch.tensor(list(map(len, texts)))  # where the answer stands, after the first token
    tokens = torch.full((len(texts), int(last.max()) + 1), begin)
    for row, ids in enumerate(texts):
        tokens[row, 1 : len(ids) + 1] = torch.tensor(ids)
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    with torch.enable_grad():
        for _ in range(steps):
            some = torch.randperm(len(tokens))[:64]
            logits = model(tokens[some], use_cache=False).logits[range(64), last[some] - 1]
            loss = torch.nn.functional.cross_entropy(logits, tokens[some, last[some]])
            adam.zero_grad()
            loss.backward()
            adam.step()
    model.eval()


def found_in(model: str) -> Callable[[Path, Path], None]:
    """What makes a circuit of a model beside it, which does not know the task well."""

    def make(root: Path, place: Path) -> None:
        task = ("--task", str(root / "letters.jsonl"))
        parts = {"format": "lacewing-parts-1", "heads": ["0.0"], "mlps": [0]}
        file = place.with_name(f".{place.name}.json")
        file.write_text(json.dumps(parts))
        words = ["--circuit", str(file), "--model", f"hf:{root / model}", *task]
        _quietly("verify", *words, "--quick", "--output", str(place), "--target-loss", "0.69")
        file.unlink()

    return make


def exported(root: Path, place: Path) -> None:
    """A model of ours as a folder of transformers."""
    _quietly("export", "huggingface", str(root / "run"), "--output", str(place))


def tried(root: Path, place: Path) -> None:
    """A pruning of an open model that was killed on its way."""
    from hostile.material import unfinished

    unfinished(place, ["--model", f"hf:{root / 'gpt2'}", *_task(root), *SHORT])


def _task(root: Path) -> tuple[str, str]:
    return ("--task", str(root / "letters.jsonl"))


def openai(root: Path, place: Path) -> None:
    """A model of the release, with its tokenizer beside it."""
    release = _interop("release")
    release.write_model(place / "model", *release.made("yolo2"))
    release.write_tokenizer(place / "tinypython", (("a", "b"), ("ab", "c")))


def opened(root: Path, place: Path) -> None:
    """That model, imported."""
    words = ["openai", str(root / "openai" / "model"), "--output", str(place)]
    _quietly("import", *words, "--corpus", str(root / "text"))


def viz(root: Path, place: Path) -> None:
    """A circuit of the release, in the model that was imported."""
    import lacewing

    model = lacewing.load(root / "opened")
    texts = ("x = [1", "y = [2", "x = (1", "y = (2")
    rows = torch.tensor([model.tokenizer.encode(text) for text in texts])
    kept = {"0.attn.q": [0, 5], "1.mlp.post_act": [20, 23], "final_resid": [0, 7, 15]}
    data = {
        "circuit_data": {name: torch.tensor(channels) for name, channels in kept.items()},
        "importances": {"task_samples": [rows, {}], "loss": 1.5, "interv_loss": 0.5},
        "prune_config": {"target_loss": 0.3},
    }
    place.mkdir()
    torch.save(data, place / "viz_data.pt")


def pretrain(root: Path, place: Path) -> None:
    """A repository of sparse_pretrain."""
    _interop("test_sparse_pretrain").repository(place)


def masks(root: Path, place: Path) -> None:
    """A pruning of sparse_pretrain, in the micro model, with pairs."""
    place.mkdir()
    widths = {"attn_q": micro.WIDTH, "mlp_neuron": micro.WIDTH}
    found = {f"layer0_{site}": torch.zeros(width) for site, width in widths.items()}
    found["layer0_mlp_neuron"][:2] = 1
    torch.save(found, place / "binary_masks.pt")
    (place / "config.yaml").write_text(yaml.safe_dump({"ablation_type": "zero", "k": [1, 2.5]}))
    results = {"task": "pronoun", "target_loss": 0.1, "final_metrics": {"task_loss": 0.09}}
    (place / "results.json").write_text(json.dumps(results))
    (place / "calibration.json").write_text('{"scale": 1.5, "shift": 3.0}')
    pairs = [
        {"clean": f"X{i}=", "corrupted": f"Y{i}=", "clean_answer": "P", "corrupted_answer": "Q"}
        for i in range(8)
    ]
    lines = [json.dumps(pair | {"source": "x"}) + "\n" for pair in pairs]
    (place / "pairs.jsonl").write_text("".join(lines))


def circuits(root: Path, place: Path) -> None:
    """A circuit file of each other tool."""
    edges = ["input->a0.h0<q>", "a0.h0->m0", "m0->logits"]
    tracer = [{"feature_type": "cross layer transcoder", "layer": "0", "node_id": "a"}]
    files: dict[str, Any] = {
        "own": {
            "format": "lacewing-parts-1",
            "heads": ["0.0", "0.1.q"],
            "mlps": [0],
            "neurons": ["0.3"],
            "nodes": ["0.attn_in.5"],
            "edges": ["0.1->mlp 0"],
        },
        "eap": {
            "cfg": {"n_layers": 1, "n_heads": micro.WIDTH // micro.HEAD},
            "nodes": {"a0.h0": {"in_graph": True}, "m0": {"in_graph": True}},
            "edges": {edge: {"in_graph": True, "score": 0.5} for edge in edges},
        },
        "auto": {"edges": {"A0.0->MLP 0": 0.7, "MLP 0->Resid End": 0.2}, "threshold": 0.1},
        "tracer": {"metadata": {}, "qParams": {}, "nodes": tracer, "links": []},
    }
    place.mkdir()
    for name, plain in files.items():
        (place / f"{name}.json").write_text(json.dumps(plain))


def lines(root: Path, place: Path) -> None:
    """Text of so many files that each part of it has some."""
    for number in range(200):
        dice = random.Random(number)
        words = [dice.choice(("k=a", "l=b", "m = [c]", "# d", "def e(f):")) for _ in range(6)]
        path = place / f"package{number % 3}" / f"part{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([f"# {number}", *words, ""]))


def records(root: Path, place: Path) -> None:
    """What nodes of the micro model do over a text, and one neuron in the format of 2023."""
    _quietly("explain", *asked_records(root), "--records", str(place))
    from lacewing.explain.neuron_record import neuron_record
    from lacewing.explain.records import read

    text = text_of(root)
    node, values = next(iter(read(place, text).items()))
    neuron_record(text, node, values).save(place / "neuron.json")


def asked_records(root: Path, *sites: str) -> list[str]:
    """The flags that records are made with: of one node of each site."""
    nodes = [f"0.{site}.0" for site in sites or ("mlp_neuron", "attn_q")]
    words = ["--model", str(root / "run"), "--nodes", *nodes]
    return [*words, "--corpus", str(root / "lines"), "--tokens", "4000"]


def text_of(root: Path) -> Any:
    """The text that records are of."""
    import lacewing
    from lacewing.data.corpus import Corpus
    from lacewing.explain import calls
    from lacewing.explain.text import read_text

    model = lacewing.load(root / "run")
    source = Corpus.parse(str(root / "lines"))
    return read_text(source, model.tokenizer, calls.context(model), 4000, "python")


LATENTS = ("--tokens", "512", "--batch", "4", "--expansion", "2", "--k", "4", "--held-out", "128")


def saes(root: Path, place: Path) -> None:
    """Autoencoders of the micro model."""
    _quietly("sae", *asked_latents(root), *LATENTS, "--output", str(place))


def lens(root: Path, place: Path) -> None:
    """One of them as SAELens has it: two files."""
    shutil.copytree(root / "saes" / "0.mlp_out", place)


def asked_latents(root: Path) -> list[str]:
    """The flags that they are made with."""
    words = ["--model", str(root / "run"), "--site", "0.mlp_out"]
    return [*words, "--corpus", str(root / "lines")]


MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "gpt2": gpt2,
    "gpt2.circuit": found_in("gpt2"),
    "llama": llama,
    "llama.circuit": found_in("llama"),
    "exported": exported,
    "tried": tried,
    "openai": openai,
    "opened": opened,
    "viz": viz,
    "pretrain": pretrain,
    "masks": masks,
    "circuits": circuits,
    "records": records,
    "saes": saes,
    "lens": lens,
}
"""What is made, by its name in the material's folder."""


def on_gpt2(work: Path) -> Any:
    """The short test of a circuit of an open model."""
    return cli("verify", "--circuit", "gpt2.circuit", "--quick", "--model", "hf:gpt2")


def on_llama(work: Path) -> Any:
    """The same of one in shards."""
    return cli("verify", "--circuit", "llama.circuit", "--quick", "--model", "hf:llama")


def scored(work: Path) -> Any:
    """The task's loss in an open model, of which nothing says what it was."""
    return cli("tasks", "--run", "hf:gpt2", "--task", "letters.jsonl", "--pairs", 32)


def on_exported(work: Path) -> Any:
    """The short test of a circuit on its model, which was exported."""
    return cli("verify", "--circuit", "circuit", "--quick", "--model", "hf:exported")


def went_on(work: Path, root: Path) -> Any:
    """The pruning of an open model, ended by the same command."""
    words = ["--model", f"hf:{root / 'gpt2'}", *_task(root), *SHORT]
    return cli("prune", *words, "--output", "tried/new")


def imported(work: Path, root: Path) -> Any:
    """A model of the release."""
    words = ["openai", "openai/model", "--output", "new", "--corpus", root / "text"]
    return cli("import", *words)


def imported_circuit(work: Path, root: Path) -> Any:
    """A circuit of the release."""
    words = ["--model", root / "opened", "--answers", "]", ")", "--output", "new"]
    return cli("import", "openai", "viz/viz_data.pt", *words)


def imported_pretrain(work: Path, root: Path) -> Any:
    """A model of sparse_pretrain."""
    words = ["pretrain", "--output", "new", "--corpus", root / "text"]
    return cli("import", "sparse_pretrain", *words)


def imported_masks(work: Path) -> Any:
    """A circuit of sparse_pretrain."""
    words = ["--model", "run", "--output", "new", "--pairs", "masks/pairs.jsonl"]
    return cli("import", "sparse_pretrain", "masks", *words)


def of_other_tools(work: Path) -> Any:
    """The short test of every foreign circuit."""
    more = ("--model", "run", "--task", "letters.jsonl", "--quick")
    names = ("own", "eap", "auto", "tracer")
    return [cli("verify", "--circuit", f"circuits/{name}.json", *more) for name in names]


def on_latents(work: Path) -> Any:
    """The task's loss in a model whose nodes are latents, with one of them looked at."""
    import lacewing

    scored = cli("tasks", "--run", "sae:saes", "--task", "letters.jsonl", "--pairs", 32)
    model = lacewing.load("sae:saes")
    with lacewing.record(model.network, ["0.mlp_out"]) as seen:
        model.network(torch.arange(8)[None])
    return [scored, model.id, float(seen["0.mlp_out"].double().abs().sum())]


def adopted(work: Path, root: Path) -> Any:
    """An autoencoder of SAELens, measured."""
    words = ["--model", "run", "--site", "0.mlp_out", "--adopt", "lens", "--corpus", root / "lines"]
    return cli("sae", *words, *LATENTS, "--output", "new")["figures"]


def recorded(work: Path, root: Path) -> Any:
    """The records as they are read, and gone on with by the same command."""
    from lacewing.explain.neuron_record import NeuronRecord
    from lacewing.explain.records import read

    values = {node: level.tolist() for node, level in read(Path("records"), text_of(root)).items()}
    one = NeuronRecord.load(Path("records/neuron.json"))
    done = cli("explain", *asked_records(root), "--records", "records")
    return [values, one.as_json(), [row["explanation"] for row in done["nodes"]]]


def _interop(name: str) -> Any:
    """A module of the tests of foreign formats."""
    import importlib

    if str(INTEROP) not in sys.path:
        sys.path.append(str(INTEROP))
    return importlib.import_module(name)


def _quietly(*words: str) -> None:
    from hostile.material import say

    say(list(words))
