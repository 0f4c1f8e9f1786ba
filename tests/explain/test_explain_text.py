"""Texts: states of Python and English, documents in parts, predicates over them."""

import numpy as np
import pytest
from tokenizers import normalizers

from lacewing.data.corpus import Document
from lacewing.data.tokenizer import Tokenizer
from lacewing.errors import DataError
from lacewing.explain import english, language
from lacewing.explain.columns import Columns
from lacewing.explain.library import Library
from lacewing.explain.parse import parse
from lacewing.explain.planted import SHAPES, plant
from lacewing.explain.predicate import Literal, Predicate, Since, State, Token, sentence
from lacewing.explain.python_source import FEATURES, Python, codes_of
from lacewing.explain.text import PARTS, Text, lexed, text_of

SOURCE = (
    'x = set()\nif x == "a\'b":\n    y = f(\'\', [1, (2)])  # "no\n    z = f"""a"b\n"""\n'
    "for k in x:\n    def g(a, b=1):\n        return a + k\nimport os\n@wrap\ncurrent = {}\n"
)
PROSE = (
    'The men said, "We go (now)." They went. It was late.\n\nEvery dog barks at NASA, the dog.\n'
)


def read(reader: language.Language, text: str) -> dict[str, list[str]]:
    """Every feature after every character, by name, values in words."""
    first = np.zeros(len(text), dtype=np.int64)
    first[0] = 1
    state = reader.states(codes_of(text), np.arange(1, len(text) + 1), first)
    return {
        f.name: [f.values[v] if f.values else str(v) for v in state[:, i]]
        for i, f in enumerate(reader.features)
    }


def after(found: dict[str, list[str]], text: str, upto: str, name: str) -> str:
    """A feature after the first occurrence of some text."""
    return found[name][text.index(upto) + len(upto) - 1]


@pytest.mark.parametrize(
    ("upto", "name", "value"),
    [
        ("x = set(", "assigned", "set"),
        ("x = set(", "in_call", "1"),
        ("if x", "word_type", "set"),
        ("if x == \"a'", "quote", '"'),
        ('if x == "a\'b"', "in_string", "0"),
        ("a'b\":\n  ", "block", "1"),
        ("f('', [1, (", "depth", "3"),
        ("f('', [1, (", "bracket", "("),
        ("f('', [1,", "commas", "1"),
        ('# "n', "comment", "1"),
        ('z = f"""a"b', "triple", "1"),
        ('z = f"""a"b', "fstring", "1"),
        ('z = f"""a"b\n"""', "in_string", "0"),
        ('z = f"""a"b\n"""\n', "assigned", "str"),
        ("for k in x", "keyword", "in"),
        ("for k in x:\n    def g(a, b", "in_def", "1"),
        ("return a", "parameter", "1"),
        ("return a + k", "loop_variable", "1"),
        ("return a", "indent", "2"),
        ("import o", "in_import", "1"),
        ("@wra", "decorator", "1"),
        ("current = {", "assigned", "dict"),
    ],
)
def test_python_state(upto: str, name: str, value: str) -> None:
    """The state of Python source after some of it."""
    assert after(read(Python(), SOURCE), SOURCE, upto, name) == value


@pytest.mark.parametrize(
    ("upto", "name", "value"),
    [
        ("The", "capital", "1"),
        ("The men", "number", "plural"),
        ('said, "We', "in_quotes", "1"),
        ('said, "We', "person", "first"),
        ("(now", "depth", "1"),
        ('(now)." ', "sentence_start", "1"),
        ("went. It", "number", "singular"),
        ("late.\n\nEvery", "words", "1"),
        ("NASA", "upper", "1"),
        ("NASA, the dog", "seen_word", "1"),
    ],
)
def test_english_state(upto: str, name: str, value: str) -> None:
    """The state of English prose after some of it."""
    assert after(read(english.English(), PROSE), PROSE, upto, name) == value


@pytest.mark.parametrize(("reader", "text"), [(Python(), SOURCE), (english.English(), PROSE)])
def test_states_are_causal(reader: language.Language, text: str) -> None:
    """A prefix has the states of the whole, however tokens cut it."""
    whole = reader.states(
        codes_of(text), np.arange(1, len(text) + 1), np.eye(1, len(text), dtype=int)[0]
    )
    for cut in range(1, len(text)):
        once = reader.states(codes_of(text[:cut]), np.array([cut]), np.array([1]))
        assert (once[-1] == whole[cut - 1]).all(), text[:cut]


def test_windows_begin_where_the_state_is_fresh(python: Text) -> None:
    """Reading the text from each window's first token alone gives the same states."""
    for window in np.unique(python.window)[::97]:
        ids = python.ids[python.window == window].tolist()
        alone = lexed([ids], python.pieces, python.language)
        assert (alone.state == python.state[python.window == window]).all()


def test_documents_lie_in_one_part(python: Text) -> None:
    """No document is in two parts, and every part has some."""
    owners = [set(python.document[python.slices[part]].tolist()) for part, _ in PARTS]
    assert all(owners)
    assert sum(map(len, owners)) == len(set().union(*owners))


def test_too_little_text_is_one_line(pieces: Tokenizer) -> None:
    """A corpus that cannot be split says how many documents there are."""
    with pytest.raises(DataError, match="each part needs 3 documents"):
        text_of([Document("a.py", "x = 1\n" * 20)], pieces, 32, 1000, spec="tiny")


def test_a_tokenizer_that_changes_the_text_is_one_line(documents: list[Document]) -> None:
    """Where tokens do not spell the text, nothing can be said of what nodes read."""
    lower = Tokenizer.train([document.text for document in documents[:20]], 300)
    lower._inner.normalizer = normalizers.Lowercase()
    with pytest.raises(DataError, match="do not spell its text"):
        text_of([Document("a.py", "Class = ONE\n" * 20)], lower, 32, 1000)


def test_unknown_language() -> None:
    """A language nobody registered is one line with those there are."""
    with pytest.raises(DataError, match="no language 'pyton'; did you mean python"):
        language.get("pyton")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(10))
def test_print_and_parse(library: Library, shape: str, seed: int) -> None:
    """Parsing is the inverse of printing, and the sentence names something."""
    rule = plant(library, shape, seed).rule
    features = {name: feature for name, (_, feature) in library.text.features.items()}
    assert parse(str(rule), features) == rule
    assert sentence(rule, features).startswith("Active where ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tok[0] = 3", "cannot be read from"),
        ("in_strin", "did you mean in_string"),
        ('quote == "x"', "has no value of quote 'x'"),
        ("depth >= ", "needs a number where 'the end'"),
        ('tok[-99] == "a"', "places go from -31 to 0"),
        ("in_string in_call", "goes on with 'in_call'"),
    ],
)
def test_bad_predicates(text: str, message: str) -> None:
    """What is no predicate is one line that says where and what there is."""
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        parse(text, {feature.name: feature for feature in FEATURES})


def test_since(python: Text) -> None:
    """A happened and no B after it, inside the window, against the definition word for word."""
    opened, closed = Token(0, (" =",)), State("line_start")
    columns = Columns(python)
    found = columns.atom(Since(opened, closed))
    a, b = columns.atom(opened), columns.atom(closed)
    for at in range(0, len(python), 53):
        begin = int(python.start[at])
        ups = [i for i in range(begin, at + 1) if a[i]]
        downs = [i for i in range(begin, at + 1) if b[i]]
        assert found[at] == bool(ups and (not downs or downs[-1] <= ups[-1]))


def test_clauses_and_negation(python: Text) -> None:
    """OR, AND and NOT are those of sets."""
    columns = Columns(python)
    one, two = Literal(State("in_string")), Literal(State("depth", ">=", "1"), negated=True)
    both, either = Predicate(((one, two),)), Predicate(((one,), (two,)))
    a, b = columns.atom(one.atom), ~columns.atom(two.atom)
    assert (columns.truth(both) == (a & b)).all()
    assert (columns.truth(either) == (a | b)).all()
    assert not columns.truth(Predicate()).any()
    assert columns.truth(Predicate(((),))).all()
