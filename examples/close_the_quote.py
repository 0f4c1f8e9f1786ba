"""The circuit for single_double_quote as short plain NumPy, simplified.

AbsTopK, norms and what hardly varies are constants, tables keep their strongest tokens;
chosen on 96 validation prompts.

Model 4e364f99934e96e0, 23 nodes, 24 edges, mean ablation, seed 0.
On 512 test prompts: the circuit's answer on 93.6%;
task loss 0.0624 nats, the circuit's 0.1305;
margins 1.6e+00 nats apart on average, a logit at most 8.5e+00.

    python FILE     checks the program on the prompts it carries
    circuit(ids)    the answers' logits after some token ids

Values are one number per token. Everything outside the circuit is a constant, and has
been added up into the constants below. A comment names the node (LAYER.SITE.CHANNEL),
then who reads it (->), and of a table the tokens that weigh most in the prompts.
"""

import numpy as np

ANSWERS = {831: '")', 1051: "')"}  # token id: text, in the order of the logits
CONTEXT, VOCABULARY = 64, 2048


def circuit(ids):
    """Logits of the answers, in the order of ANSWERS, after some token ids."""
    ids = np.asarray(ids)
    if not 0 < len(ids) <= CONTEXT:
        raise ValueError(f"{len(ids)} tokens; there must be 1 to {CONTEXT}")
    at = np.arange(len(ids))
    # layer 0, attention
    # 0.attn_in.67 -> attn_v.270; '("' 11, ' is' 6.5
    dquote_open = sparse({349: 6.51, 414: 10.9})[ids]
    # 0.attn_in.108 -> attn_k.262, attn_k.286; '("' 8.1, "('" 6.2
    dquote_open_108 = sparse({414: 8.05, 511: 6.24})[ids]
    # 0.attn_in.176 -> attn_k.277; ')\n' -8.7, "('" -5.1
    newline = sparse({271: -8.7, 511: -5.07})[ids]
    # 0.attn_in.237 -> attn_k.261, attn_k.262, attn_k.265 and 2 more; '("' -6.3, "('" -4.5
    dquote_open_237 = sparse({414: -6.31, 511: -4.5})[ids]
    # 0.attn_in.248 -> attn_k.265, attn_v.267; " '" 11, "('" 6.4
    squote = sparse({321: 11.3, 511: 6.43})[ids]
    # 0.attn_in.301 -> attn_k.276; "('" -5, '("' -4.3
    quote_open = sparse({414: -4.28, 511: -5.01})[ids]
    # 0.attn_in.328 -> attn_v.275; "('" 9, 'import' -12
    paren_squote_vs_import = sparse({511: 9.01, 713: -11.9})[ids]
    # 0.attn_in.343 -> attn_k.261, attn_k.262, attn_k.286; '("' -4.6, "('" -4.6
    quote_open_343 = sparse({414: -4.62, 511: -4.59})[ids]
    position = POSITION[at]  # 0.attn_in.399 -> attn_k.261, attn_k.262, attn_k.276
    # 0.attn_k.261
    key_position = 0.107 * dquote_open_237 + 0.19 * quote_open_343 + 0.559 * position - 5.02
    # 0.attn_k.262
    key_position_262 = (
        0.1 * dquote_open_108 - 0.11 * dquote_open_237 - 0.229 * quote_open_343
        - 0.465 * position + 1.88
    )
    key_squote = -0.146 * dquote_open_237 + 0.141 * squote + 0.362  # 0.attn_k.265
    # 0.attn_k.276
    key_position_276 = -0.125 * dquote_open_237 - 0.242 * quote_open - 0.469 * position + 4.52
    key_dquote_open = -0.249 * newline - 0.277 * dquote_open_237 - 0.171  # 0.attn_k.277
    key_dquote_open_286 = -0.285 * dquote_open_108 + 0.22 * quote_open_343 + 1.66  # 0.attn_k.286
    value_squote = -0.183 * squote - 0.123  # 0.attn_v.267 -> attn_out.6, attn_out.96
    value_squote = beyond(0.123, value_squote)  # AbsTopK
    value_dquote_open = -0.185 * dquote_open - 0.102  # 0.attn_v.270 -> attn_out.6
    value_dquote_open = beyond(0.102, value_dquote_open)  # AbsTopK
    # 0.attn_v.275 -> attn_out.6, attn_out.96
    value_paren_squote_vs_import = -0.179 * paren_squote_vs_import - 0.0628
    value_paren_squote_vs_import = beyond(0.167, value_paren_squote_vs_import)  # AbsTopK
    look_0_8 = (
        attend(ids, -0.312 * key_position + 0.24 * key_position_262 + 0.314 * key_squote
        + 0.237 * key_position_276 + 0.229 * key_dquote_open - 0.259 * key_dquote_open_286
        - 1.66, 1.6)
    )
    # 0.attn_out.6 -> 6
    wrote_dquote_open = (
        0.215 * (look_0_8 @ value_squote) - 0.213 * (look_0_8 @ value_dquote_open)
        + 0.122 * (look_0_8 @ value_paren_squote_vs_import) - 0.708
    )
    # 0.attn_out.96 -> 96
    wrote_paren_squote_vs_import = (
        -0.0981 * (look_0_8 @ value_squote) - 0.213 * (look_0_8 @ value_paren_squote_vs_import)
        + 0.178
    )
    # the answers
    final_dquote_open = wrote_dquote_open + 0.985  # resid_final.6
    final_paren_squote_vs_import = wrote_paren_squote_vs_import + 0.326  # resid_final.96
    final_constant = np.full(len(ids), 0.16)  # resid_final.100
    logit_dquote_close = -14.8 * final_paren_squote_vs_import - 67.4
    logit_squote_close = -16.3 * final_dquote_open - 8.53 * final_constant - 72.2
    return np.array([logit_dquote_close[-1], logit_squote_close[-1]])


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


def beyond(size, value):
    """AbsTopK with a fixed threshold: zero where the value is no larger than it."""
    return np.where(np.abs(value) > size, value, 0)


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
3.9 2.81 2.41 2.05 1.94 1.84 1.58 1.4 1.52 1.17 1.02 0.907 0.731 0.773 0.525 0.474 0.277 0.341
0.355 0.15 0.137 0.152 0.103 0.171 0.109 0.0695 -0.0566 -0.068 0.0161 -0.0255 -0.13 -0.216 -0.19
-0.425 -0.285 -0.379 -0.355 -0.277 -0.383 -0.405 -0.287 -0.551 -0.568 -0.606 -0.911 -0.892 -1.23
-1.22 -1.52 -1.63 -1.63 -2.09 -2.12 -2.21 -2.51 -2.85 -2.85 -3.03 -3.06 -3.15 -3.2 -3.05 -2.99
-2.81
""".split(), float)


PROMPTS = [  # text, token ids, the circuit's logits, the right answer
]


if __name__ == "__main__":
    check()
