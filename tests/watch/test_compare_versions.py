"""Two versions of the model made by hand: what was cut out of the second is known."""

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import micro
from lacewing.cli.app import main
from lacewing.errors import MismatchError
from lacewing.model.store import Model, model_id
from lacewing.watch.compare import Comparison, compare_versions
from watch.live_text import known, lines


def changed(change: Callable[[Model], None]) -> Model:
    """The model with other weights, as another version of it."""
    model = micro.micro()
    change(model)
    new = {"id": model_id(model.network, model.means, model.tokenizer), "source": "after"}
    return Model(**{**vars(model), **new})


def compared(after: Model) -> Comparison:
    """The planted circuit in both."""
    before = micro.micro()
    pairs = tuple(micro._pairs(64, 9))
    config = micro.prune_config()
    circuit = micro.make(before, micro.PLANTED, pairs=pairs, config=config)
    return compare_versions(before, after, [circuit], anew=False, random_circuits=6, quiet=True)


def test_a_rounded_copy_has_the_mechanism() -> None:
    """Weights in eight bits."""

    def rounded(model: Model) -> None:
        for weight in model.network.parameters():
            step = weight.abs().max() / 127
            if step > 0:
                weight.copy_((weight / step).round() * step)

    found = compared(changed(rounded))
    assert found.survived
    assert "survived" == found.mechanisms[0].state
    assert 0 < found.changed <= found.tensors
    assert all(0 < change.relative < 0.1 for change in found.largest)


def test_another_way_beside_it_is_seen_by_necessity() -> None:
    """The answer comes by nodes outside as well: alone it is enough as before, but not needed."""
    (found,) = compared(changed(micro.doubled)).mechanisms
    assert "moved" == found.state
    assert found.after.sufficient.verdict is True
    assert found.after.necessary.verdict is False
    assert "no longer needed" in found.reason


def test_what_is_cut_out_is_gone() -> None:
    """Neither path reaches the answer."""

    def cut(model: Model) -> None:
        model.network.lm_head.weight[:, : micro.FREE] = 0

    found = compared(changed(cut))
    assert not found.survived
    assert "gone" == found.mechanisms[0].state
    assert "lm_head.weight" == found.largest[0].name


def test_the_same_model_has_not_changed() -> None:
    """Nothing differs, and every mechanism is there."""
    found = compared(changed(lambda model: None))
    assert found.survived
    assert (0, ()) == (found.changed, found.largest)


@pytest.mark.parametrize(("factor", "state"), [(0.999, "as before"), (0.0, "moved")])
def test_a_circuit_that_did_not_pass_is_compared_with_itself(factor: float, state: str) -> None:
    """Path A alone is not enough; in a copy that is all but the same it is what it was."""

    def weaker(model: Model) -> None:
        (block,) = model.network.blocks
        block.c_attn.weight[2 * micro.WIDTH, 1] *= factor

    before, pairs = micro.micro(), tuple(micro._pairs(64, 9))
    circuit = micro.make(before, micro.PATH_A, pairs=pairs, config=micro.prune_config())
    after = changed(weaker)
    found = compare_versions(before, after, [circuit], anew=False, random_circuits=6, quiet=True)
    (mechanism,) = found.mechanisms
    assert mechanism.state == state
    assert "it did not pass before" in mechanism.reason
    assert found.survived == (state == "as before")


def test_another_shape_is_refused() -> None:
    """Nodes of the one are no nodes of the other."""
    with pytest.raises(MismatchError, match="has other sites than micro 0"):
        compare_versions(micro.micro(), micro.busy(32), [], quiet=True)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row, the reason, what does it now; status 3 where it moved, 0 where it did not."""
    before = micro.micro()
    run = micro.write_run(before, tmp_path / "run")
    pairs = tuple(micro._pairs(48, 9))
    facts = {"pairs": pairs, "model_source": str(run), "config": micro.prune_config()}
    micro.make(before, micro.PLANTED, **facts).save(tmp_path / "circuit")

    after = micro.write_run(changed(micro.doubled), tmp_path / "after")
    task = micro.write_pairs(tmp_path / "letters.jsonl", 240)
    words = ["watch", "--circuit", str(tmp_path / "circuit"), "--after"]
    main([*words, str(run), "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["survived"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, str(after), "--task", str(task)])
    told = capsys.readouterr().out
    assert 3 == stopped.value.code
    assert "moved" in told
    assert "pruned anew" in told
    assert "lm_head.weight" in told


def test_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python of docs/watch.md runs as it stands."""
    page = (Path(__file__).parents[2] / "docs" / "watch.md").read_text("utf-8")
    compared, monitored = re.findall(r"^```python\n((?:.*\n)*?)```$", page, re.M)
    before = micro.micro()
    micro.write_run(before, tmp_path / "runs" / "mine")
    micro.write_run(changed(micro.doubled), tmp_path / "runs" / "tuned")
    _, circuit, reference = known()
    circuit.save(tmp_path / "runs" / "quote")
    reference.save(tmp_path / "runs" / "usual")
    (tmp_path / "new.txt").write_text("\n".join(lines(100, 2)))
    names: dict[str, object] = {}
    with contextlib.chdir(tmp_path):
        exec(compile(compared, "watch.md", "exec"), names)  # the block itself
        assert "False ['moved']" in capsys.readouterr().out
        exec(compile(monitored, "watch.md", "exec"), names)
    assert "the model has changed, circuit first_letter" in capsys.readouterr().out
