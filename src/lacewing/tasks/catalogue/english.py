"""English tasks, for models that read English: minimal pairs written by templates.

    subject_verb        The key to the cabinets -> is     The keys to the cabinets -> are
    indirect_object     Wang et al. 2022; the subject repeats one of two names
    greater_than        Hanna et al. 2023; a span of years ends after it begins
    gendered_pronoun    Mathwin et al. 2023; he or she, by the name
    induction           A B C D E A B C D E A -> B     ... C -> D
    quote_in_prose      which quotation mark closes speech
    bracket_in_prose    a bracket that opened closes, a comma answers a comma

The words are common ones, single tokens in most vocabularies; pairs whose answers a tokenizer
splits are left out.
"""

from random import Random

from lacewing.tasks.pair import Draft
from lacewing.tasks.templates import template


def _words(text: str) -> tuple[str, ...]:
    """The words of a line."""
    return tuple(text.split())


WOMEN = _words(
    "Mary Anna Emma Sarah Laura Julia Alice Jane Kate Lisa Maria Linda Susan Karen Helen "
    "Amy Rachel Diana Rose Sophie"
)
MEN = _words(
    "John James Tom David Paul Mark Peter Michael Robert William George Daniel Simon Jack "
    "Henry Adam Kevin Brian Eric Frank"
)
PLACES = ("store", "park", "school", "office", "beach", "station", "market", "library", "garden")
THINGS = ("drink", "book", "ring", "letter", "key", "ball", "gift", "map", "phone", "ticket")
NOUNS = _words(
    "author doctor teacher student engineer driver farmer lawyer neighbor manager painter "
    "singer key book picture report letter window road river tree house car table garden"
)
OTHERS = _words(
    "cabinet building senator officer friend village pilot worker bank city table company "
    "door market artist child school"
)
PREPOSITIONS = ("near", "behind", "beside", "next to", "in front of", "opposite")
PLURALS = {"child": "children", "city": "cities", "company": "companies"}
WORDS = _words(
    "apple river stone house paper green dog cat bird table chair window door car boat "
    "train tree flower water fire snow rain sun moon star night day road city king queen "
    "gold silver iron milk bread sugar salt book letter music song game ball"
)
EVENTS = ("war", "project", "siege", "strike", "reign", "trial", "voyage", "famine", "festival")
FOLK = ("friend", "student", "teacher", "doctor", "singer", "writer", "player", "worker", "cook")
GOOD = ("good", "kind", "smart", "nice", "great", "brave", "calm", "funny")
SPOKEN = (
    "I will be there {time}",
    "We should leave {time}",
    "You can come back {time}",
    "I have to finish this {time}",
    "They are not here {time}",
    "Nobody told me about it {time}",
    "It was raining {time}",
    "She never called me {time}",
    "I want to see him {time}",
    "We could not find it {time}",
)
TIMES = (
    "tomorrow", "tonight", "this morning", "on Monday", "next week", "again", "at noon", "soon",
    "today", "after lunch", "in the morning", "before dinner",
)  # fmt: skip
SAID = ("said", "whispered", "replied", "shouted", "answered", "explained", "wrote", "thought")
ASIDES = (
    "which is cold in winter", "which opened in May", "which nobody likes", "which we saw",
    "which was built by hand", "which belongs to us", "which is very old", "which I found",
    "which stands on a hill", "which they sold", "which was lost", "which costs a lot",
)  # fmt: skip


def _plural(noun: str) -> str:
    return PLURALS.get(noun, noun + "s")


@template(((" is", " are"), (" was", " were")))
def subject_verb(random: Random) -> Draft:
    """The verb agrees with the subject, not with the noun before it: `The keys to the door`."""
    noun, other = random.choice(NOUNS), random.choice(OTHERS)
    other = _plural(other) if random.random() < 0.5 else other
    rest = f"{random.choice(PREPOSITIONS)} the {other}"
    opening = random.choice(("The", "This is why the", "We know that the", "I think the"))
    return Draft(f"{opening} {noun} {rest}", f"{opening} {_plural(noun)} {rest}")


@template()
def indirect_object(random: Random) -> Draft:
    """Who is given: `When Mary and John went to the store, John gave a drink to` -> ` Mary`."""
    one, other = random.sample((*WOMEN, *MEN), 2)
    place, thing = random.choice(PLACES), random.choice(THINGS)
    start = f"When {one} and {other} went to the {place},"
    end = f"gave a {thing} to"
    return Draft(f"{start} {other} {end}", f"{start} {one} {end}", answers=(f" {one}", f" {other}"))


@template()
def greater_than(random: Random) -> Draft:
    """The year a span ends in: `The war lasted from 1723 to 17` -> `3`, from 1773 -> `8`."""
    century, digit = random.randrange(11, 20), random.randrange(2, 9)
    event, verb = random.choice(EVENTS), random.choice(("lasted", "went on"))
    low, high = random.randrange(1, 4), random.randrange(6, 9)
    clean, corrupted = (
        f"The {event} {verb} from the year {century}{decade}{digit} to the year {century}"
        for decade in (low, high)
    )
    return Draft(clean, corrupted, answers=(str(low + 1), str(high + 1)))


@template(((" she", " he"),))
def gendered_pronoun(random: Random) -> Draft:
    """He or she, by the name: `Mary is such a good cook, isn't` -> ` she`."""
    end = f"is such a {random.choice(GOOD)} {random.choice(FOLK)}, isn't"
    start = random.choice(("", "So ", "Well, ", "I know "))
    return Draft(f"{start}{random.choice(WOMEN)} {end}", f"{start}{random.choice(MEN)} {end}")


@template()
def induction(random: Random) -> Draft:
    """What came after this word before: `a b c a b c a` -> ` b`, `a b c a b c b` -> ` c`."""
    words = random.sample(WORDS, 5)
    first, second = random.sample(range(4), 2)
    row = " ".join((*words, *words))
    return Draft(
        f"{row} {words[first]}",
        f"{row} {words[second]}",
        answers=(f" {words[first + 1]}", f" {words[second + 1]}"),
    )


@template((('."', ".'"), ('"', "'"), (',"', ",'")))
def quote_in_prose(random: Random) -> Draft:
    """Which mark closes speech: `"We should leave tonight` -> `."`, `'We ...` -> `.'`."""
    speech = random.choice(SPOKEN).format(time=random.choice(TIMES))
    start = f"{random.choice((*WOMEN, *MEN))} {random.choice(SAID)},"
    return Draft(f'{start} "{speech}', f"{start} '{speech}")


@template(((")", ","),))
def bracket_in_prose(random: Random) -> Draft:
    """What closes an aside: `The lake (which we saw` -> `)`, `, which we saw` -> `,`."""
    start = random.choice(("The", "Our", "This", "Her", "His", "Your"))
    noun = random.choice((*OTHERS, *NOUNS[12:]))
    aside = random.choice(ASIDES)
    return Draft(f"{start} {noun} ({aside}", f"{start} {noun}, {aside}")


ENGLISH = (
    subject_verb,
    indirect_object,
    greater_than,
    gendered_pronoun,
    induction,
    quote_in_prose,
    bracket_in_prose,
)
