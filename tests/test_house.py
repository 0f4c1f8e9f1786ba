"""The rules of the house, read off the source."""

import ast
import importlib
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from lacewing.shapes import AXES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "lacewing"
HOUSE = """
errors  bounds

artifacts/     files  packed  values  tensors  moments  locks  manifest  folders

progress  shapes  statistics

pages/         names  templating  svg  plots  guard
kernels/       cpu/  cpu/lanes  cpu/piece  cpu/rows  cpu/vector
               cuda/  cuda/launch  cuda/select  cuda/abs_topk  cuda/keep_largest  cuda/adam
               cuda/attend  cuda/sink_attention  cuda/sparse_linear
               jit  memory  cores  precision
               cpu/keep_largest  cpu/adam  cpu/cross_entropy  cpu/gate  cpu/rms_norm
               cpu/sink_attention  cpu/prefix_attention
               cpu/even_attention  cpu/sparse_linear
               abs_topk  keep_largest  adam  cross_entropy  gate  gelu  rms_norm  sink_attention
               prefix_attention
               sparse_linear  cpu/tables  cpu/masked_linear  masked_linear
               cpu/sparse_rows  sparse_rows  crossover
data/          source  paths  code  cleaned  taught  hub  corpus  tokenizer  shards  batches
               packages  wheels  filters  near  build
model/         config  protocol  saved  shipped  sites  families  layers  compact  transformer
               weights  hooks  generate  registry  store
               huggingface/  huggingface/layouts  huggingface/network  huggingface/tokenizer
               huggingface/folder  huggingface/own  huggingface/means  huggingface/load
training/      config  presets  density  optimizer  disturbance  checkpoint  evaluate  estimate
               run  release  loop  twin  branch
tasks/         pair  source  text  task  templates  fit  selection  batch  scoring
               catalogue/  catalogue/lines  catalogue/strings  catalogue/brackets  catalogue/names
               catalogue/statements  catalogue/loops  catalogue/functions
               catalogue/everyday  catalogue/english
               userfile  registry  listing
circuit/       edges  config  parts  facts  calibration  certificate  pairs  folder  shipped
               drawing
               notebook  frame  circuit
               components  natural_text  prompts
ablation/      masks  values  prefixes  packed  prefix_run  masked_run  donors  compiled  live
               live_map  live_blocks  live_maps  learning_maps  calibration  limit  run  editor
               modes  attention  claims  attribution  node_mask  worst_subset
pruning/       state  learned_calibration  kept_parts  reachability  selection  node_elimination
               elimination  merge  component_mask
               robust/  robust/ablations  robust/adversary  robust/foreign_text  robust/losses
               robust/constraints
               mask_learning  node_search  remembering  kept_search  edge_search  prune  walks
               shared
interop/       formats  foreign  pickled  settings  save
               openai/  openai/config  openai/weights  openai/tokenizer  openai/model
               openai/circuit
               sparse_pretrain/  sparse_pretrain/model  sparse_pretrain/circuit
               huggingface/modeling_lacewing  huggingface/card  huggingface/export  huggingface/
               transformer_lens
verification/  finding  kept  evidence  searches  random_circuits  short  ablation_modes  complement
               interchange  distribution_shift  agreement  natural_text  rewrites  off_target
               baselines  attention  two_valued  controls  alternatives  stability  suite  verify
sae/           config  autoencoder  formats  folder  text  activations  figures  learner
               train  splice
bridges/       config  maps  streams  losses  fit  norms  figures  folder  pretrain  train
               directions  steer  survey  transfer  curves  latents
explain/       calls  language  python_loop  python_source  english  text  predicate  parse  columns
               bits  library  firing  search  metrics  amplitude  controls  card  planted  node
               samples  neuron_record  records  saliency  upstream  nodes
               pairs  change  stage  causal  validate  listing  groups  explain  labels
programs/      lines  rivals  reads  heads  reference  compile  names  text  layout  measure
               simple  program
trace/         held  edges  graph  answered  attributed  partner  views  trace  open  passes
               curvature  weight_edits  onwards  elsewhere  candidates  aim  trials  tuning
               outcome  repair  mended  mistakes  switched  near  open_views  hints
attacks/       material  state  edits  search  attack
comparison
partners/      cells  forms  run
sweep/         config  points  twins  tuning  accuracy  jobs  work  pool  gather  tables
               correlation  figures  writing  summary  run  emergence  emergence_figure
report/        charts  saved  latents  commands  gather  page  build
watch/         places  detectors  levels  measure  scores  stream  dealing  probe  compare  wiring
               reference  fit  alarm  monitor  live
               serving/writing  serving/decided  serving/history  serving/metrics
               serving/sending  serving/service  serving/
               audit/schema  audit/files  audit/measure  audit/card  audit/statement
               audit/limits  audit/points  audit/page  audit/sign  audit/build  audit/numbers
               audit/check  audit/
viewer/        turns  texts  meanings  answers  rows  bundle  connections  files  tie  jobs  notes
               sample  edits  things  folder  latents  reading  running  session  ends  describe
               groups  grouped
               opened  attention  effects  exports/rules  exports/text  exports/trace
               exports/graph  exports/answer  exports/  state  frontier  emergences  home  replies
               known  tracing  opening  across  server  serve  copies  watched/asked
               watched/answering  watched/app  watched/start  watched/
demo
cli/           machine  plugins  flags  streams  parsing  tables  findings  places  corpus  train
               models  tasks  prune  verify  explain  trace  repair  sae  bridge  steer  program
               attack  compare  sweep  emerge  watching  watch  audit  report  importing  exporting
               demo  view  app
__main__
"""
"""The house, as in its design: a module may import only what stands above it or to its left.

A name with a slash at its end stands for a folder: at the start of a line for a room, whose own
`__init__` comes last in it; elsewhere for the `__init__` of a folder inside a room. `*` is a room
that keeps its own order.
"""


def places() -> dict[str, int]:
    """Every module's place in HOUSE, counted from the top."""
    found: dict[str, int] = {}
    room = ""
    for line in HOUSE.splitlines():
        words = line.split()
        if not line.startswith(" ") and words:
            if room:
                found[f"lacewing.{room}"] = len(found)
            room = words.pop(0).removesuffix("/") if words[0].endswith("/") else ""
        for word in words:
            name = word.strip("/").replace("/", ".")
            found[f"lacewing.{room}.{name}" if room else f"lacewing.{name}"] = len(found)
    return found


FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 80
ARRAYS = {"Float", "Float32", "Bool", "Int", "Int32", "Int64", "UInt16", "Shaped", "Num"}
WORD = re.compile(r"[a-z_]{2,}")
"""Axis words; single letters stand for sizes that only have to agree."""


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def at_load(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module loads: not those in functions or under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not typing_only and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from at_load(node)


def imported(path: Path, loading: bool = False) -> Iterator[str]:
    """Modules of lacewing that a file imports, anywhere or while loading."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in at_load(tree) if loading else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "lacewing")
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*up, *([node.module] if node.module else [])])
            if name.split(".")[0] == "lacewing":
                for alias in node.names:
                    whole = f"{name}.{alias.name}"
                    yield whole if whole in MODULES else name


def place_of(module: str, known: dict[str, int]) -> int | None:
    """A module's place; that of its room where the room keeps its own order."""
    room = ".".join(module.split(".")[:2])
    return known.get(module, known[room] if f"{room}.*" in known else None)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def undocumented(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Public functions, classes and methods of a body that have no docstring."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, f"{prefix}{node.name}.")


def test_every_module_has_a_place() -> None:
    """Every file of the package stands in HOUSE, once, and so no import goes unread."""
    known = places()
    names = [word for word in HOUSE.split() if not word.endswith("/")]
    assert len(names) <= len(known), "a module stands in HOUSE twice"
    assert [m for m in MODULES if m != "lacewing" and place_of(m, known) is None] == []


def test_imports_only_what_stands_above() -> None:
    """No upward import, at any level: while loading, in functions, and for type checkers alone."""
    known, upward = places(), []
    for module, path in MODULES.items():
        own = place_of(module, known)
        for other in imported(path) if own is not None else ():
            place = place_of(other, known)
            inside = f"{'.'.join(module.split('.')[:2])}.*" in known and place == own
            if other != "lacewing" and not inside and (place is None or place >= own):
                upward.append(f"{module} imports {other}")
    assert upward == []


def test_nobody_asks_the_package() -> None:
    """Its names are for users: inside, only the version is taken from it."""
    asked = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import) and any(a.name == "lacewing" for a in node.names):
                asked.append(module_of(path))
            if isinstance(node, ast.ImportFrom) and (node.module, node.level) == ("lacewing", 0):
                names = {alias.name for alias in node.names}
                taken = names - {"__version__"} - {m.split(".")[1] for m in MODULES if "." in m}
                asked += [f"{module_of(path)}: {name}" for name in taken]
    assert asked == []


def test_axis_words() -> None:
    """Array annotations use the axis words of shapes.py and no synonyms."""
    unknown = set()
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple)):
                continue
            axes = node.slice.elts[-1] if node.slice.elts else None
            if ast.unparse(node.value) in ARRAYS and isinstance(axes, ast.Constant):
                words = set(WORD.findall(str(axes.value))) - AXES.keys()
                unknown |= {f"{module}: {word}" for word in words}
    assert unknown == set()


def test_no_cycles() -> None:
    """Modules that load each other have no cycle, inside the folders too."""
    waiting = {module: {*imported(path, loading=True)} for module, path in MODULES.items()}
    # The package itself holds only the version; its names are imported when they are used.
    del waiting["lacewing"]
    while ready := [module for module, needs in waiting.items() if not needs & waiting.keys()]:
        for module in ready:
            del waiting[module]
    assert sorted(waiting) == []


def test_sizes() -> None:
    """No file has more than 400 lines, no function more than 80."""
    long = {}
    for module, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > LONGEST_FILE:
            long[module] = lines
        for function in functions(ast.parse(text)):
            if (lines := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION:
                long[f"{module}.{function.name}"] = lines
    assert long == {}


def test_documented() -> None:
    """Every module, and every public function, class and method, has a docstring."""
    without = []
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        without += [module] * (ast.get_docstring(tree) is None)
        without += [f"{module}.{name}" for name in undocumented(tree.body)]
    assert without == []


def test_annotated() -> None:
    """Every argument has a type; annotations are values, not strings, for the run-time check."""
    bare, future = [], []
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in functions(tree):
            given = function.args
            bare += [
                f"{module}.{function.name}({argument.arg})"
                for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)
                if argument.annotation is None and argument.arg not in ("self", "cls")
            ]
        for node in ast.walk(tree):
            future += [module] * (isinstance(node, ast.ImportFrom) and node.module == "__future__")
    assert bare == []
    assert future == []


GATE = "lacewing.interop.pickled"
"""The one module that reads files of torch.save, which are pickles: tensors and plain values."""


def test_nothing_runs_from_files() -> None:
    """No module imports a pickle or calls torch.load or torch.save, which are pickles too."""
    pickles, found = {"pickle", "cPickle", "dill", "cloudpickle", "joblib"}, []
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{module}: {name}" for name in pickles.intersection(names)]
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                called = (node.value.id, node.attr)
                gate = (module, node.attr) == (GATE, "load")
                found += [module] * (called in {("torch", "load"), ("torch", "save")} and not gate)
    assert found == []


def test_the_gate_runs_nothing() -> None:
    """Its one call of torch.load says weights_only=True."""
    nodes = list(ast.walk(ast.parse(MODULES[GATE].read_text(encoding="utf-8"))))
    named = [n for n in nodes if isinstance(n, ast.Attribute) and ast.unparse(n) == "torch.load"]
    calls = [n for n in nodes if isinstance(n, ast.Call) and n.func in named]
    assert len(named) == len(calls) == 1
    said = {word.arg: ast.unparse(word.value) for word in calls[0].keywords}
    assert said["weights_only"] == "True"


def loads_torch(statement: str) -> bool:
    """Whether a fresh interpreter has torch loaded after a statement."""
    program = f"{statement}\nimport sys\nprint('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    return done.stdout.strip() == "True"


@pytest.mark.parametrize(
    "statement",
    [
        "import lacewing; lacewing.TrainConfig; lacewing.PruneConfig; lacewing.ModelConfig",
        "import lacewing; lacewing.Corpus",
        "import lacewing.cli",
        "import lacewing.artifacts",
    ],
)
def test_help_needs_no_torch(statement: str) -> None:
    """Settings, corpora and the command line load without torch, so that --help is quick."""
    assert not loads_torch(statement)


def test_unknown_name() -> None:
    """A name the package does not have is an AttributeError, as Python expects."""
    import lacewing

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lacewing.nonsense
    assert set(lacewing.__all__) <= set(dir(lacewing))


def test_type_checkers_see_the_public_names() -> None:
    """Every name that is imported when it is used is also imported for type checkers."""
    import lacewing

    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    shown = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lacewing")
        for alias in node.names
    }
    used = {name: f"{module}.{name}" for name, module in lacewing._WHERE.items()}
    used |= {name: f"lacewing.{name}" for name in lacewing._MODULES}
    assert used == shown
    assert (PACKAGE / "py.typed").exists()


def test_public_names_are_what_they_say() -> None:
    """Each can be had after any module of the package was loaded: no module takes its place."""
    import lacewing

    extras = ("lacewing.interop.huggingface", "lacewing.interop.transformer_lens")
    for module in MODULES:
        if not module.startswith(("lacewing.kernels.", "lacewing.__main__", *extras)):
            importlib.import_module(module)
    modules = [
        name for name in lacewing._WHERE if isinstance(getattr(lacewing, name), types.ModuleType)
    ]
    assert modules == []
