"""Each signal on a log made by hand, where it is plain what should show and what should not."""

import json

import pytest

from lacewing_blame.events import Event, Trace
from lacewing_blame.ranker.flow import data_flow
from lacewing_blame.ranker.ranking import rank
from lacewing_blame.ranker.seen import ranked
from lacewing_blame.signals.meanings import GENERAL, PLACE, SIGNALS
from lacewing_blame.signals.policy import rules
from lacewing_blame.signals.scene import Scene, call_of, result_of
from lacewing_blame.signals.sums import wrong_sums
from lacewing_blame.signals.table import table
from lacewing_blame.signals.values import values


def call(index: int, tool: str, **arguments: object) -> Event:
    """A step that calls a tool."""
    return Event(index, "agent", f"{tool}({json.dumps(arguments)})", kind="tool_call", tool=tool)


def back(index: int, text: str, tool: str = "t") -> Event:
    """What a tool gave back."""
    return Event(index, tool, text, kind="tool_result", tool=tool, blamable=False)


def say(index: int, text: str, agent: str = "agent") -> Event:
    """A step that speaks."""
    return Event(index, agent, text, blamable=agent != "user")


def signal(name: str, *events: Event, task: str = "Serve the customer") -> dict[int, float]:
    """One signal by step, where it is not 0."""
    found = table(Trace("t", task, events, "openai"))
    rows = zip(found.positions, found.rows, strict=True)
    return {events[at].index: row[name] for at, row in rows if row[name]}


def test_failures_and_what_is_made_of_them() -> None:
    """The failing call, the first of a series, and the step that goes on regardless."""
    run = (
        call(0, "find", name="Ann"),
        back(1, "Error: no such user", "find"),
        call(2, "find", name="Anna"),
        back(3, '{"ok": false}', "find"),
        say(
            4,
            "I have found the customer and will now go on with the refund as you have asked me to.",
        ),
        call(5, "look", name="Anna"),
        back(6, "No orders found.", "look"),
    )
    assert {0: 1.0, 2: 1.0} == signal("call_fails", *run)
    assert {5: 1.0} == signal("call_empty", *run)
    assert [0] == list(signal("failure_series", *run))
    assert {4: 1.0} == signal("goes_on", *run)


def test_values_without_a_source() -> None:
    """What no task, person or tool said is unsourced; what others build on weighs; so does use."""
    run = (
        say(0, "The trip costs $250, see F3960389."),
        back(1, "Flight F3960389 costs 180."),
        say(2, "I estimate 120 for parking.", "planner"),
        say(3, "So 180 + 120 = 300 in all, 120 of it for parking.", "writer"),
    )
    assert {0, 2, 3} == set(signal("unsourced", *run))
    assert {2} == set(signal("unsourced_used", *run)) - {0}
    assert {2: 1.0} == signal("unsourced_final", *run)
    assert {2: 1.0} == signal("estimates", *run)
    assert {2, 0} >= set(signal("chooses", *run))


def test_arguments_against_results() -> None:
    """A call whose argument results contradict, and one whose argument nobody gave."""
    run = (
        back(0, '{"user_id": "u17", "city": "Bern"}'),
        call(1, "update_order", user_id="u17"),
        call(2, "update_order", user_id="u99"),
    )
    assert {2: 1.0} == signal("contradicts", *run)
    assert {2: 1.0} == signal("unheard_arguments", *run)


def test_rules_of_the_system_message() -> None:
    """Rules are the lines that forbid or demand; a changing act that touches one shows."""
    told = "You serve a shop.\nNever cancel an order that is shipped.\nBe kind."
    run = (
        Event(0, "system", told, role="system", blamable=False),
        call(1, "get_order", order="shipped"),
        call(2, "cancel_order", order="the order shipped"),
    )
    assert ["Never cancel an order that is shipped."] == [
        line for line, _ in rules(Scene(Trace("t", "", run, "openai")))
    ]
    assert [2] == list(signal("touches_rule", *run, task=""))


def test_repeated_and_undone() -> None:
    """A call made again, the call it repeats, and an order that is cancelled later."""
    run = (
        call(0, "create_order", item="i77x"),
        back(1, '{"order_id": "o1234"}'),
        call(2, "get_order", order_id="o1234"),
        call(3, "get_order", order_id="o1234"),
        call(4, "cancel_order", order_id="o1234"),
    )
    assert {3: 1.0} == signal("repeats", *run)
    assert {2: 1.0} == signal("is_repeated", *run)
    assert {0: 1.0} == signal("taken_back", *run)


def test_claims() -> None:
    """Success claimed right after a failure; the end declared before values are made up."""
    run = (
        call(0, "pay", order="o1"),
        back(1, "Error: card declined"),
        say(2, "Your order is confirmed and all is done."),
        say(3, "TASK_COMPLETE"),
        say(4, "The final plan: Grand Hotel at 340, flight F123456."),
    )
    assert {2: 1.0} == signal("claims_against", *run[:3])
    assert {3: 1.0} == signal("declares_end", *run)
    assert [3] == list(signal("ends_hollow", *run))


def test_ends() -> None:
    """An end counts with its echo; not where agents act after it, and its brevity is no excuse."""
    work = call(0, "find", name="Ann"), back(1, "ok"), say(2, "Found."), say(3, "TASK_COMPLETE")
    echo = say(4, "Text 'TASK_COMPLETE' mentioned", "boss")
    assert {3: 1.0, 4: 1.0} == signal("declares_end", *work, echo, say(5, "The plan: none."))
    assert {} == signal("declares_end", *work, echo, call(5, "pay", order="o1"))
    assert [0, 2] == list(signal("short", *work))


def test_holes() -> None:
    """Empty fields of the answer, and of what comes after the end; elsewhere they are no matter."""
    empty = '{"hotel": "-", "lunch": null, "price": 120}'
    done = say(3, "TASK_COMPLETE")
    run = say(0, "Start."), say(1, empty), say(2, "Go on."), done, say(4, empty), say(5, empty)
    assert {4: 1.0, 5: 1.0} == signal("holes", *run)
    assert {1: 1.0} == signal("holes", *run[:2])
    assert {} == signal("holes", say(0, '{"hotel": "Grand", "lunch": null}'))


def test_complaint_about_the_last_act() -> None:
    """It is passed on over what the framework says each time, and not to one's own act."""
    form = "Hand-over to the critic. Say so if the task failed or is blocked. Use the packet below."
    rounds = [
        (say(4 * at, f"I clicked '{at}'.", "web"), say(4 * at + 1, form, "boss")) for at in range(3)
    ]
    quiet = say(2, "Fine.", "critic"), say(3, "Go on.", "boss")
    wrong = say(10, "That click failed, and the page is wrong.", "critic")
    assert [8] == list(signal("act_complained", *rounds[0], *quiet, *rounds[1], *rounds[2], wrong))
    assert {} == signal("act_complained", rounds[0][0], say(1, "That failed.", "web"))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("12 + 13 = 26", True),
        ("12 + 13 = 25", False),
        ("$1,200 + $300 = $1,500", False),
        ("2 x 140 + 20 = 300", False),
        ("2 x 140 + 20 = 320", True),
        ("100 - 30 - 20 = 50", False),
        ("3 * 33.33 = 99.99", False),
        ("a = 4", False),
    ],
)
def test_sums(text: str, wrong: bool) -> None:
    """Products come first, then from left to right; commas and currencies are no matter."""
    assert wrong == bool(wrong_sums(text))
    assert ({0: 1.0} if wrong else {}) == signal("wrong_sum", say(0, text))


def test_departs_from_the_instruction() -> None:
    """Told to type and clicking something else; doing as told; nobody having told anything."""
    told = say(0, "Type 'chairs' in the search field.", "boss")
    assert {1: 1.0} == signal("departs", told, say(1, "I clicked 'Home'.", "web"))
    assert {} == signal("departs", told, say(1, "I typed 'chairs' into 'Search'.", "web"))
    assert {} == signal("departs", say(1, "I clicked 'Home'.", "web"))


def test_complaints() -> None:
    """The next step complains, and a later one about what a step brought in."""
    run = (
        say(0, "Take flight F3960389."),
        say(1, "Fine, let us go on.", "b"),
        say(2, "The price of F3960389 is wrong.", "c"),
    )
    assert [1] == list(signal("complained_next", *run))
    assert [0] == list(signal("complained_later", *run))


def test_who_may_be_suspected() -> None:
    """Agents, and a person once agents have begun; never the first question or a tool."""
    run = (say(0, "Hello", "user"), say(1, "What is it?"), say(2, "Two.", "user"), back(3, "ok"))
    assert (1, 2) == table(Trace("t", "", run, "openai")).positions
    assert {2: 1.0} == signal("person", *run)


def test_rare_acts_and_changes() -> None:
    """Where few steps act, that a step acts tells much; where all do, nothing."""
    few = (*(say(at, f"Thinking about it {at}") for at in range(9)), call(9, "pay", order="o1"))
    assert [9] == list(signal("acts_rare", *few))
    assert {} == signal("acts_rare", call(0, "pay", order="o1"), call(1, "pay", order="o2"))
    assert {9: 1.0} == signal("first_change", *few)


@pytest.mark.parametrize(
    ("event", "tool", "writes"),
    [
        (call(0, "get_order_details"), "get_order_details", False),
        (call(0, "create_order"), "create_order", True),
        (call(0, "exchangeItems"), "exchangeItems", True),
        (say(0, "So:\n```bash\nls -l\n```"), "bash", False),
        (say(0, "```python\ndelegate_to_action(task='x')\n```"), "delegate_to_action", True),
    ],
)
def test_calls(event: Event, tool: str, writes: bool) -> None:
    """Calls of the framework and calls in the text; what changes something is told by its name."""
    found = call_of(event)
    assert found is not None
    assert (tool, writes) == (found.tool, found.writes)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("Tool result for A:\n{'ok': True, 'source': None}", "ok"),
        ("Tool result for A:\n1 validation error for args", "error"),
        ("Error: Order not found", "error"),
        ("Traceback (most recent call last):", "error"),
        ("", "empty"),
        ('{"results": []}', "empty"),
        ("No search results found", "nothing"),
        ("a page of text that says what was not found " * 20, "ok"),
    ],
)
def test_results(text: str, state: str) -> None:
    """What a result amounts to, past the words that only say whose it is."""
    assert state == result_of(back(0, text))


def test_values_of_texts() -> None:
    """Numbers lose their commas; one digit is no value; names and identifiers are."""
    assert {"1464.50", "New York", "F3960389"} <= values("Fly F3960389 to New York for 1,464.50")
    assert frozenset() == values("at 4 o'clock, he said")


def test_ranked_columns() -> None:
    """The place within the run, equals sharing theirs; two values stay as they are."""
    assert [0.0, 1.0, 1.0] == ranked([0.0, 1.0, 1.0])
    assert [0.125, 0.5, 0.5, 0.875] == ranked([10.0, 20.0, 20.0, 900.0])


def test_meanings() -> None:
    """Every signal is described once and measured; place is not among the general ones."""
    run = (say(0, "Hello."), say(1, "Goodbye.", "b"))
    measured = set(table(Trace("t", "", run, "openai")).rows[0])
    assert measured == set(SIGNALS) == set(GENERAL) | set(PLACE)
    assert len({one.words for one in SIGNALS.values()}) >= len(SIGNALS) - 3


@pytest.mark.parametrize("fault", [2, 5, 8])
def test_a_planted_fault_comes_first(fault: int) -> None:
    """In a tool-calling run a booking with made-up arguments is the first suspect, wherever."""
    events: list[Event] = [say(0, "Book a room in Bern for 120 or less.", "user")]
    for at in range(1, 12):
        step = 2 * at - 1
        if at == fault:
            told = call(step, "book_room", room="R99123", price="9,999", city="Geneva 4711")
            events += [told, back(step + 1, "Error: R99123 does not exist", "book_room")]
        else:
            events += [
                call(step, "search", page=f"p{at}"),
                back(step + 1, f"Room R100{at} in Bern costs {100 + at}", "search"),
            ]
    events.append(say(23, "All is booked: R99123 for 9,999."))
    first = rank(Trace("t", "Book a room", tuple(events), "openai"), guess=True).ranking[:3]
    assert 2 * fault - 1 in [suspect.step for suspect in first]


@pytest.mark.parametrize("text", ["It is 57.", "57, then", "(57)", "57. So be it", "57.\n"])
def test_numbers_at_the_end_of_a_sentence(text: str) -> None:
    """A full stop or comma after a number belongs to the sentence."""
    run = Trace("t", "", (say(0, text), say(1, "The answer is 57")), "jsonl")
    assert [(0, (0, 1))] == [(value.origin, value.seen) for value in data_flow(run)]


@pytest.mark.parametrize("text", ["57.5 it is", "1,57", "3.57", "57,000", "a57", "57b"])
def test_numbers_within_others(text: str) -> None:
    """A part of a longer number or name is not the number."""
    run = Trace("t", "", (say(0, text), say(1, "The answer is 57")), "jsonl")
    assert [1] == [value.origin for value in data_flow(run)]
