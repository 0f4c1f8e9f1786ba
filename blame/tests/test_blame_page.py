"""The page of one log: what it says, what it lets through, and how it works in a browser."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lacewing_blame.attribution import Attribution, Evidence, Suspect
from lacewing_blame.errors import ArtifactError
from lacewing_blame.events import Event, Label, Trace
from lacewing_blame.pages import text as page_text
from lacewing_blame.pages.head import head, legend
from lacewing_blame.pages.page import document, page
from lacewing_blame.pages.steps import heat_of, steps
from lacewing_blame.pages.templating import environment
from lacewing_blame.pages.text import Mark, places
from lacewing_blame.pages.timeline import timeline

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<style>body{display:none}</style> <!-- --> ]]> &lt; \" ' ` \u202e \x00 \ud800 {script}"
)
CHROMIUM = Path("/usr/bin/chromium")


def long_trace(number: int = 130) -> Trace:
    """A log of three agents in which the answer's value 4711 comes from step 5, through 60."""
    agents = ("Orchestrator", "WebSurfer", "Coder")
    texts = {i: "A message. " + "Some words. " * (i % 90) for i in range(number)}
    for at in {5, 60, number - 1} & texts.keys():
        texts[at] += " The count is 4711, it seems."
    events = [Event(0, "human", "How many?", role="human", blamable=False)]
    events += [Event(i, agents[i % 3], texts[i], role=agents[i % 3]) for i in range(1, number)]
    return Trace("long", "How many?", tuple(events), "jsonl", "42", label=Label("Coder", 5, "why"))


def answer(trace: Trace, first: int = 5, **changes: Any) -> Attribution:
    """A ranking of all candidates with the given step first, and one piece of evidence."""
    steps = sorted(trace.candidates(), key=lambda e: e.index != first)
    weights = [1 / (i + 2) for i in range(len(steps))]
    end = min(9, len(steps[0].text))
    evidence = (Evidence(first, 0, end, "it assumes", 0.4), Evidence(first, 3, 12, "but", -0.2))
    ranking = tuple(
        Suspect(e.index, e.agent, w / sum(weights), evidence if e.index == first else ())
        for e, w in zip(steps, weights, strict=True)
    )
    found = Attribution(trace.id, "ranker", steps[0].agent, first, False, ranking)
    return replace(found, **changes)


class Reader(HTMLParser):
    """Collects the elements and the text of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep a piece of text."""
        self.words.append(data)


def marked(text: str, marks: list[Mark]) -> str:
    """The HTML of a text."""
    module = environment().get_template("text.html").module
    return str(module.stretches(page_text.marked(text, marks)))


def text_of(content: str) -> str:
    """The text of a piece of HTML."""
    return "".join(Reader(content).words)


def test_nothing_is_fetched(tmp_path: Path) -> None:
    """One file, no address outside, no inline style or handler; the policy allows only its own."""
    trace = long_trace()
    file = page(trace, answer(trace), tmp_path / "log.html")
    content = file.read_text(encoding="utf-8")
    assert [file] == list(tmp_path.iterdir())
    for tag, attributes in Reader(content).tags:
        assert tag not in {"link", "iframe", "object", "embed", "img", "base", "form"}
        assert not {"src", "style", "action"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    [policy] = [a["content"] for t, a in Reader(content).tags if t == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_whole_text_survives() -> None:
    """Every step's text stands in the page in full, folded or not."""
    trace = long_trace(40)
    content = document(trace, answer(trace))
    bodies = re.findall(r"<div class=text>(.*?)</div>", content, re.DOTALL)
    assert 40 == len(bodies)
    for body, event in zip(bodies, trace.events, strict=True):
        shown = re.sub(r"<summary>.*?</summary>", "", body)
        assert event.text == text_of(shown)


def everywhere(text: str) -> Reader:
    """The page of a log that holds a text in every field of the log and of the answer."""
    first = Event(0, f"A{text}", f"{text} 4711", tool=f"T{text}", role=f"A{text} R{text}")
    last = Event(1, f"B{text}", f"{text} 4711 'Q{text}' https://a.b/{text}", role=f"B{text}")
    label = Label(f"A{text}", 0, f"L{text}")
    trace = Trace(text, text, (first, last), text, text, label=label, notes=(f"N{text}",))
    told = (Evidence(0, 2, 40, f"E{text}", 1.0), Evidence(0, 1, 4, f"F{text}", -1.0))
    suspects = (Suspect(0, f"A{text}", 1.0, told),)
    shares = {f"A{text}": 1.0}
    words = f"W{text}"
    found = Attribution(text, text, words, 0, False, suspects, shares, words, notes=(words,))
    return Reader(document(trace, found))


def test_log_stays_text() -> None:
    """Markup in every field of a log and of an answer adds no element and no attribute."""
    harmless = everywhere("x" * len(HOSTILE))
    hostile = everywhere(HOSTILE)
    assert [t for t, _ in harmless.tags] == [t for t, _ in hostile.tags]
    assert [a.keys() for _, a in harmless.tags] == [a.keys() for _, a in hostile.tags]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, 'Suspected: Coder, <a href="#s5">step 5</a>'),
        ({"abstained": True, "agent": None, "step": None}, "Nobody named: no step is likely"),
        ({"agent": None, "step": None, "ranking": ()}, "the method found none"),
        ({"step": None, "method": "hybrid"}, "Suspected: Coder, no step"),
        ({"method": "replay"}, "Cause: Coder"),
        ({"calls": 7, "tokens": 1234, "method": "hybrid"}, "hybrid, 7 questions, 1,234 tokens"),
        ({"notes": ("a coin chose",)}, "a coin chose"),
        ({"agent": "Nobody"}, "same step, other agent"),
        ({"step": 8}, "same agent, other step"),
    ],
)
def test_verdict(changes: dict[str, Any], said: str) -> None:
    """The page says who, when, by what method, whether it abstained and whether people agree."""
    trace = long_trace()
    content = document(trace, answer(trace, **changes))
    assert said in content
    if changes.get("method") != "replay":
        assert "cause" not in text_of(content.split("<script>")[0].split("</style>")[1]).casefold()


def test_heat() -> None:
    """The strip is darkest where the probability is largest; without any, at the first suspect."""
    trace = long_trace(5)
    found = answer(trace, 3)
    assert 1.0 == heat_of(found)[3] == max(heat_of(found).values())
    flat = replace(found, ranking=tuple(replace(s, probability=0.0) for s in found.ranking))
    assert {3: 1.0} == heat_of(flat)
    assert {} == heat_of(replace(found, ranking=()))


def test_signs_of_one_step_stand_apart() -> None:
    """Where method and person name the same step, both signs can be seen."""
    trace = long_trace(30)
    drawing = timeline(trace, {}, [], 5, 5)
    assert drawing.named is not None
    assert drawing.annotated is not None
    assert float(drawing.named) + 12 < float(drawing.annotated)
    apart = timeline(trace, {}, [], 4, 5)
    assert apart.annotated == str(drawing.wide * 5 + drawing.wide // 2)


def test_last_number_is_whole() -> None:
    """No step's number stands out of the drawing."""
    drawing = timeline(long_trace(121), {}, [], None, None)
    last = drawing.numbers[-1]
    assert (120, "end", str(drawing.width)) == (last.step, last.anchor, last.x)
    assert {""} == {number.anchor for number in drawing.numbers[:-1]}


def test_steps_say_nothing_twice() -> None:
    """Kind, tool, role and outcome of a step are told once each."""
    result = Event(0, "cancel", "no", "tool_result", "cancel", "error", role="tool", blamable=False)
    thought = Event(1, "Boss", "Hm.", "ledger", role="Boss (thought)")
    trace = Trace("t", "?", (result, thought), "openai")
    found = Attribution("t", "ranker", None, None, True, ())
    assert ["tool result · error", "ledger · thought"] == [
        step.facts for step in steps(trace, found, [], frozenset())
    ]
    assert "an error" in [sign.text for sign in legend(trace, found)]


def test_standing() -> None:
    """What a verdict is worth fits the verdict: the step named, or nobody at all."""
    trace = long_trace(30)
    found = answer(trace)
    assert head(trace, found).standing.startswith("Step 5 has probability")
    other = replace(found, agent="WebSurfer", step=4, agents={"WebSurfer": 0.4})
    told = head(trace, other).standing
    assert told.startswith("Of all agents, the steps of WebSurfer have the largest probability")
    assert "40%; the likeliest of them is step 4" in told
    silent = replace(found, abstained=True, agent=None, step=None)
    assert "most suspicious steps, no more; step 5 comes first." in head(trace, silent).standing
    assert "" == head(trace, replace(silent, ranking=())).standing


def test_marks_overlap() -> None:
    """Where two marks overlap, the common part carries both, and the text stays whole."""
    content = marked("abcdef", [Mark(1, 4, "for", "one"), Mark(2, 9, "value", "two", 3)])
    assert content == (
        'a<mark class="for" title="one">b</mark>'
        '<mark class="for value" data-values="3" title="one; two">cd</mark>'
        '<mark class="value" data-values="3" title="two">ef</mark>'
    )
    assert "abc" == marked("abc", [Mark(2, 2, "for"), Mark(-5, 0, "for"), Mark(7, 9, "for")])


def test_folds() -> None:
    """A long stretch is folded but for its ends; evidence is never inside a fold."""
    text = "word " * 1000
    content = marked(text, [Mark(2500, 2510, "for", "here")])
    folded = re.findall(r"<details class=fold><summary>(.*?)</summary>(.*?)</details>", content)
    assert 2 == len(folded)
    for length, inside in folded:
        assert f"{len(inside):,} more characters" == length
        assert "<mark" not in inside
    unfolded = re.sub(r"<details.*?</details>", "", content)
    assert len(text_of(unfolded)) < 4 * page_text.HEAD
    assert "<details" not in marked("word " * 90, [])


@pytest.mark.parametrize(
    ("value", "text", "found"),
    [
        ("47", "47 and 147, 4.47, 47.5, 47.", [(0, 2), (24, 26)]),
        ("Ann Lee", "Ann Lee, AnnAnn Lee's", [(0, 7)]),
        ("https://a.b/?c", "see https://a.b/?c.", [(4, 18)]),
        ("", "text", []),
    ],
)
def test_places(value: str, text: str, found: list[tuple[int, int]]) -> None:
    """Values are found as words of their own, with every sign taken literally."""
    assert found == places(value, text)


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A page that cannot be written is one clear error."""
    (tmp_path / "file").write_text("")
    trace = long_trace(5)
    with pytest.raises(ArtifactError, match="cannot write"):
        page(trace, answer(trace, 3), tmp_path / "file" / "log.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    library = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with library.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def shown(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens a log's page; no test may end with an error on its console or a request outside."""
    contexts, complaints = [], []

    def open_page(trace: Trace, found: Attribution, width: int = 1300, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **settings)
        contexts.append(context)
        context.set_default_timeout(60_000)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        file = page(trace, found, tmp_path / "log.html")
        tab.on("request", lambda r: r.url.startswith(file.as_uri()) or complaints.append(r.url))
        tab.goto(file.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert [] == complaints


def test_browser_jumps_to_a_step(shown: Any) -> None:
    """A click on the timeline, a number in the search field and the keys all reach a step."""
    tab = shown(long_trace(), answer(long_trace()))
    tab.locator('#drawing a[href="#s100"]').click()
    assert "s100" == tab.evaluate("document.activeElement.id")
    top = tab.locator("#s100").bounding_box()["y"]
    bar = tab.locator("#bar").bounding_box()
    assert bar["y"] + bar["height"] <= top <= 800
    tab.keyboard.press("j")
    assert "s101" == tab.evaluate("document.activeElement.id")
    tab.keyboard.press("k")
    tab.keyboard.press("k")
    assert "s99" == tab.evaluate("document.activeElement.id")
    tab.keyboard.press("s")
    assert "s5" == tab.evaluate("document.activeElement.id")
    tab.keyboard.press("/")
    tab.keyboard.type("77")
    tab.keyboard.press("Enter")
    assert "s77" == tab.evaluate("document.activeElement.id")
    assert tab.url.endswith("#s77")


def test_browser_search(shown: Any) -> None:
    """A word, or a number that is no step, leaves only the steps that hold it."""
    tab = shown(long_trace(), answer(long_trace()))
    tab.locator("#find").fill("4711")
    assert "3 of 130 steps" == tab.locator("#count").inner_text()
    visible = tab.locator(".step:visible")
    assert ["s5", "s60", "s129"] == [visible.nth(i).get_attribute("id") for i in range(3)]
    assert 127 == tab.locator("#drawing a.missed").count()
    tab.keyboard.press("Escape")
    assert 0 == tab.locator(".step[hidden]").count()
    tab.locator("#find").fill("99999")
    assert "0 of 130 steps" == tab.locator("#count").inner_text()


def test_browser_follows_a_value(shown: Any) -> None:
    """A chosen value lights up its steps, its places in the text and its way on the timeline."""
    tab = shown(long_trace(), answer(long_trace()))
    tab.locator("details.value>summary").first.click()
    lit = tab.locator(".step.onpath")
    assert ["s5", "s60", "s129"] == [lit.nth(i).get_attribute("id") for i in range(lit.count())]
    assert 3 == tab.locator("mark.value.on").count()
    assert 3 == tab.locator(".path.on circle:visible").count()
    tab.locator("#s129 mark.value").click()
    assert 0 == tab.locator(".onpath").count() == tab.locator(".path.on").count()
    tab.locator("details.value>summary").first.focus()
    tab.keyboard.press("Enter")
    assert 3 == lit.count()


def test_browser_begins_at_the_step_named(shown: Any) -> None:
    """A timeline wider than the screen shows the step named, also where another ranks first."""
    trace = long_trace()
    tab = shown(trace, answer(trace, 2, agent="Coder", step=110), 390)
    box = tab.locator("#drawing path.named").bounding_box()
    scroll = tab.locator("#scroll").bounding_box()
    assert scroll["x"] <= box["x"] <= scroll["x"] + scroll["width"] - box["width"]


def test_browser_hostile_log(shown: Any) -> None:
    """A log full of markup runs nothing and hides nothing."""
    trace = Trace("x", HOSTILE, (Event(0, HOSTILE, HOSTILE, role=HOSTILE),), "jsonl", HOSTILE)
    tab = shown(trace, answer(trace, 0))
    assert "lacewing: x" == tab.title()
    assert tab.locator("#s0 .text").inner_text().startswith("</script><script>document.title")
    assert 0 == tab.locator("img").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_browser_widths_and_themes(shown: Any, width: int, scheme: str) -> None:
    """On phone and desk nothing is wider than the screen; colours follow the reader's scheme."""
    trace = replace(long_trace(), id="a_name_without_a_space_" * 9, task="Where?" * 90)
    tab = shown(trace, answer(trace), width, color_scheme=scheme)
    assert width >= tab.evaluate("document.documentElement.scrollWidth")
    paper = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 31)"}
    colour = "getComputedStyle(document.body).backgroundColor"
    assert paper[scheme] == tab.evaluate(colour)
    tab.locator("#theme").click()
    assert paper["dark" if scheme == "light" else "light"] == tab.evaluate(colour)
    tab.locator("#folds").click()
    assert 0 == tab.locator("main details.fold:not([open])").count()


def test_browser_without_script(shown: Any) -> None:
    """Without its script the page still shows verdict, suspects and every step."""
    tab = shown(long_trace(), answer(long_trace()), java_script_enabled=False)
    assert "Suspected: Coder, step 5" == tab.locator("h1").inner_text()
    assert 130 == tab.locator(".step").count()
