"""A reader of Python source, character by character, in one compiled loop.

Inside which quotes, how deep in which brackets, on which statement, what was assigned last, which
names are bound: everything is known from what has been read, so a prefix of a text has the same
states as the whole. A word that a token cuts short counts as it stands. All of the loop is in this
file, because compiled code is cached by it.
"""

import numpy as np

from lacewing.kernels.cpu.piece import piece

KEYWORDS = (
    *("if", "elif", "else", "for", "while", "def", "class", "return", "import", "from", "with"),
    *("try", "except", "finally", "raise", "assert", "del", "pass", "break", "continue", "yield"),
    *("lambda", "in", "is", "not", "and", "or", "as", "global", "nonlocal", "async", "await"),
)
TYPES = ("none", "str", "list", "dict", "set", "tuple", "number", "call", "name", "constant")
LAST = ("none", ".", "=", ",", ":", "open", "close", "operator", "name", "number", "quote")
DEEPEST, NAMES = 64, 256
"""Brackets and names that are kept track of in a window."""

# Places in the state: strings and comments, the line, the statement, the word.
MODE, QUOTE, TRIPLE, FORMAT, ESCAPE, RUN, EMPTY, CONTENT = 0, 1, 2, 3, 4, 5, 6, 7
DEPTH, INDENT, BEFORE, BLANK, FIRST, KEYWORD, PREVIOUS, DECORATOR = 8, 9, 10, 11, 12, 13, 14, 15
BLOCK, VALUE, ASSIGNED, WORD, LENGTH, TARGET, BEGAN, SPACES = 16, 17, 18, 19, 20, 21, 22, 23
COUNT, JOINED, LEFT, WAITING, LAST_WORD = 24, 25, 26, 27, 28
SIZE = 29
CODE, STRING, REMARK = 0, 1, 2
STR, LIST, DICT, SET, TUPLE, NUMBER, CALL, NAME, CONSTANT = 1, 2, 3, 4, 5, 6, 7, 8, 9
DOT, EQUALS, COMMA, COLON, OPEN, CLOSE, OPERATOR, IS_NAME, IS_NUMBER, IS_QUOTE = range(1, 11)
FOR, DEF, IMPORT, FROM, LAMBDA = (
    KEYWORDS.index(word) + 1 for word in ("for", "def", "import", "from", "lambda")
)
BOUND, PARAMETER, LOOP, READ = 1, 2, 4, 8


def word_hash(word: str) -> int:
    """What the loop calls a word: its characters folded into one number."""
    found = 0
    for sign in word:
        found = (found * 131 + ord(sign)) % (1 << 55)
    return found


HASHES = np.array([word_hash(word) for word in KEYWORDS], dtype=np.int64)
SET_WORD, DICT_WORD, LIST_WORD = word_hash("set"), word_hash("dict"), word_hash("list")
CONSTANTS = np.array([word_hash(word) for word in ("None", "True", "False")], dtype=np.int64)


@piece
def _begin(s: np.ndarray, stack: np.ndarray) -> None:
    """The state before a window."""
    s[:] = 0
    stack[:] = 0
    s[BLANK] = 1


@piece
def _index(hashes: np.ndarray, word: int) -> int:
    """The place of a keyword from 1; 0 for another word."""
    for i in range(len(hashes)):
        if hashes[i] == word:
            return i + 1
    return 0


@piece
def _slot(s: np.ndarray, names: np.ndarray, word: int) -> int:
    """Where a name is kept; -1 for one that was not met."""
    for i in range(s[COUNT]):
        if names[i, 0] == word:
            return i
    return -1


@piece
def _note(s: np.ndarray, names: np.ndarray, word: int, flag: int, kind: int) -> None:
    """Remember something of a name."""
    at = _slot(s, names, word)
    if at < 0:
        if s[COUNT] >= NAMES:
            return
        at = s[COUNT]
        s[COUNT] += 1
        names[at, 0], names[at, 1], names[at, 2] = word, 0, 0
    names[at, 1] |= flag
    if kind:
        names[at, 2] = kind


@piece
def _assign(s: np.ndarray, names: np.ndarray, kind: int) -> None:
    """The value of an assignment turned out to be of a type."""
    if s[WAITING]:
        s[WAITING] = 0
        s[ASSIGNED] = kind
        _note(s, names, s[TARGET], BOUND, kind)


@piece
def _word_type(word: int, constants: np.ndarray) -> int:
    """The type that a value's first word promises."""
    for i in range(len(constants)):
        if constants[i] == word:
            return CONSTANT
    return NAME


@piece
def _end_word(s: np.ndarray, names: np.ndarray, hashes: np.ndarray, constants: np.ndarray) -> None:
    """A word is over: what it was counts from now on."""
    if not s[LENGTH]:
        return
    word = s[WORD]
    key = _index(hashes, word)
    if s[LENGTH] > 0:
        if key:
            if not s[FIRST] and s[BEGAN]:
                s[FIRST] = key
            s[KEYWORD] = key
        else:
            flag = READ
            if s[FIRST] == DEF and s[DEPTH] == 1 and s[LEFT]:
                flag |= PARAMETER | BOUND
            if s[FIRST] == FOR and s[KEYWORD] == FOR:
                flag |= LOOP | BOUND
            if s[FIRST] == IMPORT or s[FIRST] == FROM:
                flag |= BOUND
            _assign(s, names, _word_type(word, constants))
            _note(s, names, word, flag, 0)
    s[LAST_WORD] = word
    s[BEGAN] = 0
    s[LEFT] = 0
    s[WORD] = s[LENGTH] = 0


@piece
def _open_value(s: np.ndarray, names: np.ndarray, code: int) -> None:
    """What a bracket says of the value it opens; a call names its own type."""
    touching = s[PREVIOUS] == IS_NAME and not s[SPACES]
    if code == 40 and touching and s[VALUE] and s[DEPTH] == 0 and s[ASSIGNED] == NAME:
        kind = CALL
        if s[LAST_WORD] == SET_WORD:
            kind = SET
        elif s[LAST_WORD] == DICT_WORD:
            kind = DICT
        elif s[LAST_WORD] == LIST_WORD:
            kind = LIST
        s[ASSIGNED] = kind
        _note(s, names, s[TARGET], BOUND, kind)
    elif code == 40:
        _assign(s, names, TUPLE)
    elif code == 91:
        _assign(s, names, LIST)
    else:
        _assign(s, names, DICT)


@piece
def _bracket(s: np.ndarray, stack: np.ndarray, names: np.ndarray, code: int) -> None:
    """An opening or closing bracket."""
    if code == 40 or code == 91 or code == 123:
        _open_value(s, names, code)
        if s[DEPTH] < DEEPEST - 1:
            s[DEPTH] += 1
            touching = (s[PREVIOUS] == IS_NAME or s[PREVIOUS] == CLOSE) and not s[SPACES]
            touching = touching and s[FIRST] != DEF
            stack[s[DEPTH], 0] = 1 if code == 40 else 2 if code == 91 else 3
            stack[s[DEPTH], 1] = 0
            stack[s[DEPTH], 2] = 1 if touching else 0
        s[PREVIOUS] = OPEN
        s[LEFT] = 1
    else:
        s[DEPTH] = max(s[DEPTH] - 1, 0)
        s[PREVIOUS] = CLOSE


@piece
def _new_line(s: np.ndarray, stack: np.ndarray) -> None:
    """The end of a statement, or of a line inside brackets."""
    if s[DEPTH] == 0 and s[JOINED] == 0:
        if not s[BLANK]:
            s[BEFORE] = s[INDENT]
        s[FIRST] = s[KEYWORD] = s[DECORATOR] = s[VALUE] = s[WAITING] = 0
        s[BLANK], s[INDENT], s[BEGAN] = 1, 0, 0
        s[PREVIOUS] = 0
        stack[0, 1] = 0
    s[JOINED] = 0


@piece
def _sign(s: np.ndarray, stack: np.ndarray, names: np.ndarray, code: int) -> None:
    """Any other sign in code."""
    if code == 44:  # ,
        stack[s[DEPTH], 1] += 1
        s[PREVIOUS], s[LEFT] = COMMA, 1
    elif code == 58:  # :
        s[PREVIOUS], s[LEFT] = COLON, 0
        if s[DEPTH] == 0 and s[FIRST] and s[KEYWORD] != LAMBDA:
            s[BLOCK] = 1
    elif code == 61:  # =
        if s[PREVIOUS] == EQUALS or s[PREVIOUS] == OPERATOR:
            s[PREVIOUS], s[VALUE], s[WAITING] = OPERATOR, 0, 0
        else:
            s[PREVIOUS], s[LEFT] = EQUALS, 0
            if s[DEPTH] == 0 and not s[FIRST]:
                s[VALUE], s[WAITING], s[TARGET] = 1, 1, s[LAST_WORD]
    elif code == 46:  # .
        s[PREVIOUS] = DOT
    elif code == 64 and s[BEGAN]:  # @
        s[DECORATOR], s[PREVIOUS] = 1, OPERATOR
    elif code == 92:
        s[JOINED] = 1
    else:
        s[PREVIOUS] = OPERATOR
    s[BEGAN] = 0


@piece
def _quote(s: np.ndarray, names: np.ndarray, code: int, formatted: int) -> None:
    """A quote outside a string: it opens one, or the second or third of its kind."""
    _assign(s, names, STR)
    s[MODE], s[QUOTE] = STRING, (1 if code == 39 else 2)
    s[TRIPLE] = 1 if s[EMPTY] == s[QUOTE] else 0
    s[FORMAT] = formatted if not s[TRIPLE] else s[FORMAT]
    s[EMPTY], s[CONTENT], s[RUN], s[ESCAPE] = 0, 0, 0, 0


@piece
def _in_string(s: np.ndarray, code: int) -> None:
    """A character inside a string."""
    mark = 39 if s[QUOTE] == 1 else 34
    if s[ESCAPE]:
        s[ESCAPE] = s[RUN] = 0
    elif code == 92:
        s[ESCAPE], s[RUN] = 1, 0
    elif code == mark:
        s[RUN] += 1
        if not s[TRIPLE] or s[RUN] == 3:
            s[EMPTY] = s[QUOTE] if not s[TRIPLE] and not s[CONTENT] else 0
            s[MODE], s[QUOTE], s[TRIPLE], s[PREVIOUS] = CODE, 0, 0, IS_QUOTE
    else:
        s[RUN] = 0
        if code == 10 and not s[TRIPLE]:  # no string runs over a line: it was none
            s[MODE], s[QUOTE] = CODE, 0
    s[CONTENT] = 1


@piece
def _letter(s: np.ndarray, names: np.ndarray, code: int) -> None:
    """A letter, digit or underscore in code."""
    digit = 48 <= code <= 57
    if s[LENGTH] == 0:
        s[LENGTH] = -1 if digit else 1  # a number is no word
        s[PREVIOUS] = IS_NUMBER if digit else IS_NAME
        if digit:
            _assign(s, names, NUMBER)
    s[WORD] = (s[WORD] * 131 + code) % (1 << 55)


@piece
def _in_code(
    s: np.ndarray,
    stack: np.ndarray,
    names: np.ndarray,
    hashes: np.ndarray,
    constants: np.ndarray,
    code: int,
) -> None:
    """A character outside strings and comments."""
    letter = 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122 or code == 95 or code > 127
    if s[BLANK] and code != 32 and code != 10 and code != 9 and code != 35:
        s[BLANK], s[BEGAN], s[BLOCK] = 0, 1, 0
    if letter:
        _letter(s, names, code)
        s[EMPTY] = 0
    elif code == 39 or code == 34:
        last, before = s[WORD] % 131, s[WORD] // 131  # f"", F"", rf"", Rf""
        formatted = 1 if (last == 102 or last == 70) and before in (0, 82, 114) else 0
        s[WORD] = s[LENGTH] = 0  # a prefix is no name
        s[BEGAN] = 0
        _quote(s, names, code, formatted)
    else:
        _end_word(s, names, hashes, constants)
        s[EMPTY] = 0
        if code == 10:
            _new_line(s, stack)
        elif code == 35:
            s[MODE] = REMARK
        elif code == 32 or code == 9:
            if s[BLANK]:
                s[INDENT] += 1 if code == 32 else 4
        elif code == 40 or code == 91 or code == 123 or code == 41 or code == 93 or code == 125:
            s[BEGAN] = 0
            _bracket(s, stack, names, code)
        else:
            _sign(s, stack, names, code)
    s[SPACES] = 1 if code == 32 else 0


@piece
def _write(
    s: np.ndarray, stack: np.ndarray, names: np.ndarray, hashes: np.ndarray, row: np.ndarray
) -> None:
    """The features of a state; a word that is not over counts as it stands."""
    key = _index(hashes, s[WORD]) if s[LENGTH] > 0 else 0
    first = s[FIRST]
    if key and not first and s[BEGAN]:
        first = key
    keyword = key if key else s[KEYWORD]
    word = s[WORD] if s[LENGTH] > 0 else 0
    at = _slot(s, names, word) if word else -1
    flags = names[at, 1] if at >= 0 else 0
    text = s[MODE] == STRING
    row[0], row[1], row[2] = s[QUOTE], 1 if text else 0, s[TRIPLE]
    row[3] = 1 if text and s[FORMAT] else 0
    row[4], row[5] = 1 if s[MODE] == REMARK else 0, s[ESCAPE]
    row[6], row[7], row[8] = s[DEPTH], stack[s[DEPTH], 0] if s[DEPTH] else 0, stack[s[DEPTH], 1]
    row[9] = 1 if s[DEPTH] and stack[s[DEPTH], 0] == 1 and stack[s[DEPTH], 2] else 0
    row[10] = 1 if s[DEPTH] and stack[s[DEPTH], 0] == 2 and stack[s[DEPTH], 2] else 0
    row[11], row[12], row[13], row[14], row[15] = (
        s[INDENT] // 4,
        s[BLANK],
        first,
        keyword,
        s[PREVIOUS],
    )
    row[16] = 1 if first == DEF and s[DEPTH] else 0
    row[17] = 1 if first in (IMPORT, FROM) else 0
    row[18], row[19], row[20], row[21] = s[DECORATOR], s[BLOCK], s[VALUE], s[ASSIGNED]
    row[22] = names[at, 2] if at >= 0 else 0
    row[23], row[24] = 1 if flags & BOUND else 0, 1 if flags & PARAMETER else 0
    row[25], row[26] = 1 if flags & LOOP else 0, 1 if flags & READ else 0
    row[27] = 1 if s[INDENT] < s[BEFORE] and not s[BLANK] else 0
    row[28] = 1 if s[INDENT] > s[BEFORE] and not s[BLANK] else 0


def read_all(
    codes: np.ndarray,
    ends: np.ndarray,
    first: np.ndarray,
    hashes: np.ndarray,
    constants: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill one row of features for every token; see `language.Language.states`."""
    s = np.zeros(SIZE, dtype=np.int64)
    stack = np.zeros((DEEPEST, 3), dtype=np.int64)
    names = np.zeros((NAMES, 3), dtype=np.int64)
    at = 0
    for token in range(len(ends)):
        if first[token]:
            _begin(s, stack)
        while at < ends[token]:
            code = np.int64(codes[at])
            at += 1
            if s[MODE] == STRING:
                _in_string(s, code)
            elif s[MODE] == REMARK and code != 10:
                continue
            else:
                s[MODE] = CODE
                _in_code(s, stack, names, hashes, constants, code)
        _write(s, stack, names, hashes, out[token])
