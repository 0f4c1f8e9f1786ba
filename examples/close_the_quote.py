"""The circuit for single_double_quote as short plain NumPy, simplified.

AbsTopK, norms and what hardly varies are constants, tables keep their strongest tokens;
chosen on 96 validation prompts.

Model dc8d7b8409816cd9, 36 nodes, 51 edges, mean ablation, seed 0.
On 512 test prompts: the circuit's answer on 93.6%;
task loss 0.0893 nats, the circuit's 0.1368;
margins 1.7e+00 nats apart on average, a logit at most 9.2e+00.

    python FILE     checks the program on the prompts it carries
    circuit(ids)    the answers' logits after some token ids

Values are one number per token. Everything outside the circuit is a constant, and has
been added up into the constants below. A comment names the node (LAYER.SITE.CHANNEL),
then who reads it (->), and of a table the tokens that weigh most in the prompts.
"""

import math

import numpy as np

ANSWERS = {831: '")', 1051: "')"}  # token id: text, in the order of the logits
CONTEXT, VOCABULARY = 64, 2048


def circuit(ids):
    """Logits of the answers, in the order of ANSWERS, after some token ids."""
    ids = np.asarray(ids)
    if not 0 < len(ids) <= CONTEXT:
        raise ValueError(f"{len(ids)} tokens; there must be 1 to {CONTEXT}")
    at = np.arange(len(ids))
    # layer 0, MLP
    # 0.mlp_in.82 -> mlp_neuron.258, mlp_neuron.1181, mlp_neuron.1533; '("' -13, "('" -11
    quote_open = sparse({414: -13.4, 511: -11.2})[ids]
    # 0.mlp_in.118 -> mlp_neuron.867, mlp_neuron.1533; "'" 10, "('" 5.7
    squote = sparse({6: 10.3, 511: 5.72})[ids]
    # 0.mlp_in.128 -> mlp_neuron.1533; ':\n' 8.3, '):\n' 6.8, '("' 5.1
    newline = sparse({272: 8.29, 300: 6.81, 414: 5.11})[ids]
    # 0.mlp_in.307 -> mlp_neuron.258, mlp_neuron.867, mlp_neuron.1181 and 1 more
    # '("' 4.9, ' print' -7.2
    paren_dquote_vs_print = sparse({414: 4.85, 1155: -7.22})[ids]
    # 0.mlp_in.324 -> mlp_neuron.867; "('" 3.9, '("' 3.2
    quote_open_324 = sparse({414: 3.2, 511: 3.87})[ids]
    # 0.mlp_in.383 -> mlp_neuron.258, mlp_neuron.867, mlp_neuron.1533; '("' -5.3, '0' 5.5, "('" -3.3
    n0_vs_dquote_open = sparse({15: 5.5, 414: -5.3, 511: -3.26})[ids]
    # 0.mlp_in.422 -> mlp_neuron.867, mlp_neuron.1533; "('" 4.2, 'n' -7.4
    n = sparse({77: -7.39, 511: 4.19})[ids]
    # 0.mlp_neuron.258 -> mlp_out.324
    neuron_quote_open = (
        gelu(-0.361 * quote_open + 0.11 * paren_dquote_vs_print - 0.218 * n0_vs_dquote_open
        - 1.55)
    )
    # 0.mlp_neuron.867 -> mlp_out.50, mlp_out.324, mlp_out.338
    neuron_squote = (
        gelu(0.305 * squote - 0.138 * paren_dquote_vs_print + 0.188 * quote_open_324
        - 0.113 * n0_vs_dquote_open + 0.266 * n - 1)
    )
    # 0.mlp_neuron.1181 -> mlp_out.235, mlp_out.324
    neuron_quote_open_1181 = gelu(-0.279 * quote_open + 0.256 * paren_dquote_vs_print - 0.445)
    # 0.mlp_neuron.1533 -> mlp_out.50, mlp_out.338
    neuron_newline = (
        gelu(-0.189 * quote_open - 0.134 * squote + 0.289 * newline
        + 0.16 * paren_dquote_vs_print - 0.165 * n0_vs_dquote_open - 0.136 * n - 1.24)
    )
    # 0.mlp_out.50 -> attn_in.50
    mlp_wrote_squote = -0.316 * neuron_squote + 0.124 * neuron_newline - 0.0468
    mlp_wrote_quote_open = -0.153 * neuron_quote_open_1181 + 1.04  # 0.mlp_out.235 -> attn_in.235
    # 0.mlp_out.324 -> attn_in.324
    mlp_wrote_quote_open_324 = (
        0.336 * neuron_quote_open + 0.303 * neuron_squote + 0.197 * neuron_quote_open_1181
        + 0.246
    )
    mlp_wrote_quote_open_324 = beyond(0.144, mlp_wrote_quote_open_324)  # AbsTopK
    # 0.mlp_out.338 -> attn_in.338
    mlp_wrote_newline = -0.216 * neuron_squote + 0.322 * neuron_newline + 0.0817
    mlp_wrote_newline = beyond(0.137, mlp_wrote_newline)  # AbsTopK
    # layer 1, attention
    squote_50 = 8.24 * mlp_wrote_squote - 0.0119  # 1.attn_in.50 -> attn_v.446, attn_v.447
    # 1.attn_in.235 -> attn_k.419, attn_k.430, attn_k.435 and 1 more
    quote_open_235 = 3.69 * mlp_wrote_quote_open + 0.028
    # 1.attn_in.324 -> attn_k.421, attn_k.429, attn_k.430 and 2 more
    quote_open_1_attn_in_324 = 3.45 * mlp_wrote_quote_open_324 - 0.00654
    quote_open_1_attn_in_324 = beyond(0.76, quote_open_1_attn_in_324)  # AbsTopK
    # 1.attn_in.338 -> attn_v.422, attn_v.446, attn_v.447
    newline_338 = 6.76 * mlp_wrote_newline + 0.234
    position = POSITION[at]  # 1.attn_in.448 -> attn_k.419, attn_k.429, attn_k.430
    position_467 = POSITION_467[at]  # 1.attn_in.467 -> attn_k.419, attn_k.421, attn_k.430 and 1 more
    position_467 = beyond(0.903, position_467)  # AbsTopK
    # 1.attn_k.419
    key_position = -0.169 * quote_open_235 + 0.268 * position - 0.451 * position_467 + 0.433
    # 1.attn_k.421
    key_position_421 = 0.139 * quote_open_1_attn_in_324 - 0.594 * position_467 + 5.24
    key_quote_open = -0.216 * quote_open_1_attn_in_324 - 0.0938 * position - 2.05  # 1.attn_k.429
    # 1.attn_k.430
    key_position_430 = (
        0.262 * quote_open_235 - 0.126 * quote_open_1_attn_in_324 - 0.281 * position
        + 0.504 * position_467 - 2.29
    )
    # 1.attn_k.435
    key_quote_open_435 = -0.145 * quote_open_235 + 0.137 * quote_open_1_attn_in_324 + 0.837
    # 1.attn_k.446
    key_position_446 = (
        -0.17 * quote_open_235 + 0.135 * quote_open_1_attn_in_324 - 0.334 * position_467 + 0.906
    )
    value_newline = 0.246 * newline_338 + 0.108  # 1.attn_v.422 -> attn_out.248, attn_out.277
    value_newline = beyond(0.477, value_newline)  # AbsTopK
    # 1.attn_v.446 -> attn_out.248, attn_out.337
    value_squote = 0.16 * squote_50 + 0.0625 * newline_338 - 0.101
    # 1.attn_v.447 -> attn_out.248, attn_out.277
    value_newline_447 = 0.149 * squote_50 + 0.186 * newline_338 + 0.0212
    look_1_13 = (
        attend(ids, 0.395 * key_position + 0.196 * key_position_421 - 0.242 * key_quote_open
        - 0.223 * key_position_430 + 0.263 * key_quote_open_435 + 0.29 * key_position_446
        + 0.263, 1.32)
    )
    # 1.attn_out.248 -> 248
    wrote_newline = (
        0.184 * (look_1_13 @ value_newline) + 0.191 * (look_1_13 @ value_squote)
        + 0.149 * (look_1_13 @ value_newline_447) + 0.248
    )
    wrote_newline = beyond(0.152, wrote_newline)  # AbsTopK
    # 1.attn_out.277 -> 277
    wrote_newline_277 = (
        -0.303 * (look_1_13 @ value_newline) - 0.285 * (look_1_13 @ value_newline_447) - 0.00571
    )
    wrote_squote = 0.27 * (look_1_13 @ value_squote) - 0.511  # 1.attn_out.337 -> 337
    # the answers
    final_newline = wrote_newline + 0.0275  # resid_final.248
    final_newline_277 = wrote_newline_277 + 0.0113  # resid_final.277
    final_squote = wrote_squote - 0.697  # resid_final.337
    logit_dquote_close = 11.4 * final_squote - 73.7
    logit_squote_close = -5.15 * final_newline + 7.03 * final_newline_277 - 86.7
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


def gelu(x):
    """The exact GELU."""
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


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
-0.289 -0.109 -0.166 -0.37 -1.35 -2.37 -2.43 -3.11 -3.6 -3.71 -3.42 -3.33 -2.99 -3.59 -3.03
-2.38 -1.56 -0.936 -0.367 -0.283 -0.178 -0.163 0.022 -0.0744 -0.107 0.0808 0.0768 0.148 0.0842
0.0752 0.148 -0.0308 -0.0524 -0.0612 -0.203 0.0435 0.0206 -0.0619 -0.0325 0.049 0.0275 1.01 1.41
1.82 2.4 2.96 2.65 3.15 3.51 3.61 3.38 3.3 3.17 2.27 2.14 1.63 1.46 0.263 0.17 0.318 0.152 0.161
0.697 1.08
""".split(), float)
POSITION_467 = np.array("""
3.58 3.51 2.64 1.87 1.29 0.903 0.156 0.134 -0.0174 -0.0795 -0.0438 -0.102 -0.123 0.0448 -0.048
-0.0531 -0.0579 0.0101 -0.107 0.0307 -0.0457 -0.178 -0.0869 -0.00319 0.0545 0.0479 0.123 0.0508
0.0703 -0.0305 0.163 0.0932 -0.174 -0.243 -0.247 -0.168 -0.125 -0.0964 -0.18 -0.0274 0.0404
-0.122 -0.0207 0.0211 0.0636 0.12 0.0103 0.0781 0.0874 -0.0242 -0.0194 0.0296 -0.108 -0.995
-1.41 -2.04 -2.71 -2.73 -3.31 -3.33 -3.44 -3.76 -3.25 -2.98
""".split(), float)


PROMPTS = [  # text, token ids, the circuit's logits, the right answer
]


if __name__ == "__main__":
    check()
