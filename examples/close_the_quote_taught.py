"""The circuit for single_double_quote as short plain NumPy, simplified.

AbsTopK, norms and what hardly varies are constants, tables keep their strongest tokens;
chosen on 96 validation prompts.

Model c5a398ca920741b2, 8 nodes, 4 edges, mean ablation, seed 0.
On 512 test prompts: the circuit's answer on 97.5%;
task loss 0.0631 nats, the circuit's 0.1253;
margins 1.0e+00 nats apart on average, a logit at most 1.6e+01.

    python FILE     checks the program on the prompts it carries
    python FILE TEXT ...    says what it predicts after a text (needs lacewing)
    circuit(ids)    the answers' logits after some token ids

Values are one number per token. Everything outside the circuit is a constant, and has
been added up into the constants below. A comment names the node (LAYER.SITE.CHANNEL),
then who reads it (->), and of a table the tokens that weigh most in the prompts.
"""

import sys

import numpy as np

ANSWERS = {584: "')", 666: '")'}  # token id: text, in the order of the logits
CONTEXT, VOCABULARY = 64, 1024
MODEL = 'builtin:taught-small'  # where its tokenizer is


def circuit(ids):
    """Logits of the answers, in the order of ANSWERS, after some token ids."""
    ids = np.asarray(ids)
    if not 0 < len(ids) <= CONTEXT:
        raise ValueError(f"{len(ids)} tokens; there must be 1 to {CONTEXT}")
    at = np.arange(len(ids))
    # layer 0, attention
    # 0.attn_in.55 -> attn_k.204; '("' -22, "('" -20
    quote_open = sparse({377: -20.1, 392: -22})[ids]
    # 0.attn_in.89 -> attn_v.202; "('" 8.9, '           ' -6.8
    paren_squote_vs_space = sparse({272: -6.76, 377: 8.87})[ids]
    position = POSITION[at]  # 0.attn_in.286 -> attn_k.197
    key_position = -0.393 * position - 0.557  # 0.attn_k.197
    key_quote_open = 0.205 * quote_open - 0.402  # 0.attn_k.204
    # 0.attn_v.202 -> attn_out.29
    value_paren_squote_vs_space = 0.163 * paren_squote_vs_space + 0.028
    look_0_12 = attend(ids, -0.552 * key_position - 0.752 * key_quote_open + 7.34, 0.949)
    # 0.attn_out.29 -> 29
    wrote_paren_squote_vs_space = -0.12 * (look_0_12 @ value_paren_squote_vs_space) - 0.000602
    # the answers
    final_paren_squote_vs_space = wrote_paren_squote_vs_space  # resid_final.29
    logit_squote_close = np.full(len(ids), -25.2)
    logit_dquote_close = 114 * final_paren_squote_vs_space - 20.4
    return np.array([logit_squote_close[-1], logit_dquote_close[-1]])


def sparse(entries, size=VOCABULARY):
    """A row of zeros but for some entries: {place: value}, or a text of place:value."""
    if isinstance(entries, str):
        entries = {int(p): float(v) for p, v in (e.split(":") for e in entries.split())}
    row = np.zeros(size)
    row[list(entries)] = list(entries.values())
    return row


def attend(ids, logits, sink=-np.inf):
    """Who looks at whom: softmax over a token and those before it; the sink takes its share."""
    seen = np.where(np.tri(len(ids), dtype=bool), logits, -np.inf)
    most = np.maximum(seen.max(1, keepdims=True), sink)
    weights = np.exp(seen - most)
    return weights / (weights.sum(1, keepdims=True) + np.exp(sink - most))


def ask(text):
    """Say what the circuit predicts after a text; lacewing is needed, for the model's tokenizer."""
    from lacewing.model.shipped import tokenizer_of

    logits = circuit(tokenizer_of(MODEL).encode(text)[-CONTEXT:])
    said = list(ANSWERS.values())[int(np.argmax(logits))]
    every = ", ".join(f"{a!a} {value:.3g}" for a, value in zip(ANSWERS.values(), logits))
    print(f"{text[-48:]!a} -> {said!a}  (logits: {every})")


def check():
    """Run the prompts below, and compare with what the circuit in the network said."""
    worst, same, right = 0.0, 0, 0
    for text, ids, wanted, answer in PROMPTS:
        logits = circuit(ids)
        said = list(ANSWERS.values())[int(np.argmax(logits))]
        worst = max(worst, np.abs(logits - wanted).max())
        same += int(np.argmax(logits) == np.argmax(wanted))
        right += int(said == answer)
        print(f"{text[-48:]!a:>56} -> {said!a}  right: {answer!a}")
    print(f"{len(PROMPTS)} prompts: the circuit's answer on {same}, the right one on {right}; "
          f"largest difference from the circuit's logits {worst:.1e}")
    return worst


POSITION = np.array("""
-3.09 -2.69 -2.77 -2.77 -2.7 -2.81 -2.67 -2.48 -2.73 -2.54 -2.52 -2.43 -2.36 -2.26 -2.22 -2.11
-1.81 -1.78 -1.66 -1.38 -1.39 -1.09 -1.03 -0.912 -0.838 -0.842 -0.618 -0.506 -0.498 -0.308
-0.0643 -0.0379 0.0222 0.146 0.306 0.447 0.511 0.749 0.797 1.07 1.13 1.37 1.58 1.75 2 2.08 2.17
2.38 2.62 2.6 2.96 3.03 3.15 3.24 3.32 3.4 3.16 3.25 3.26 3.06 2.89 2.71 2.28 1.67
""".split(), float)


PROMPTS = [  # text, token ids, the circuit's logits, the right answer
]


if __name__ == "__main__":
    if sys.argv[1:]:
        for prompt in sys.argv[1:]:
            ask(prompt)
    elif PROMPTS:
        check()
    else:
        print(f"no prompts are carried here; give one: python {sys.argv[0]} TEXT")
