"""The circuit for single_double_quote as short plain NumPy, simplified.

AbsTopK, norms and what hardly varies are constants, tables keep their strongest tokens;
chosen on 96 validation prompts.

Model 028caac5a0d280cb-2ef19769, 44 nodes, 88 edges, mean ablation, seed 0.
On 512 test prompts: the circuit's answer on 93.6%;
task loss 0.0802 nats, the circuit's 0.1419;
margins 1.8e+00 nats apart on average, a logit at most 1.0e+01.

    python FILE     checks the program on the prompts it carries
    python FILE TEXT ...    says what it predicts after a text (needs lacewing)
    circuit(ids)    the answers' logits after some token ids

Values are one number per token. Everything outside the circuit is a constant, and has
been added up into the constants below. A comment names the node (LAYER.SITE.CHANNEL),
then who reads it (->), and of a table the tokens that weigh most in the prompts.
"""

import math
import sys

import numpy as np

ANSWERS = {1116: '")', 1660: "')"}  # token id: text, in the order of the logits
CONTEXT, VOCABULARY = 128, 2048
MODEL = 'builtin:sparse'  # where its tokenizer is


def circuit(ids):
    """Logits of the answers, in the order of ANSWERS, after some token ids."""
    ids = np.asarray(ids)
    if not 0 < len(ids) <= CONTEXT:
        raise ValueError(f"{len(ids)} tokens; there must be 1 to {CONTEXT}")
    at = np.arange(len(ids))
    # layer 0, MLP
    # 0.mlp_in.140 -> mlp_neuron.1969, mlp_neuron.2025; "('" 4.8, "'" 6.2
    squote = sparse({6: 6.25, 564: 4.84})[ids]
    # 0.mlp_in.238 -> mlp_neuron.1969, mlp_neuron.2025; " '" -8, "'" -7.4, "('" -4
    squote_238 = sparse({6: -7.42, 362: -8.04, 564: -4.05})[ids]
    # 0.mlp_in.265 -> mlp_neuron.309, mlp_neuron.1969, mlp_neuron.2025
    # '("' -4.8, " '" -7.3, ' "' -7.9, ' not' -7, "('" -3.9, '"' -8.3
    quote = sparse({1: -8.34, 296: -7.86, 362: -7.26, 393: -7.01, 432: -4.82, 564: -3.85})[ids]
    # 0.mlp_in.298 -> mlp_neuron.309, mlp_neuron.684, mlp_neuron.2025; '("' 7.2, ' "' 6
    dquote = sparse({296: 5.97, 432: 7.15})[ids]
    # 0.mlp_in.412 -> mlp_neuron.24, mlp_neuron.684, mlp_neuron.1969 and 1 more; "('" -6.7, "'" -6.7
    squote_412 = sparse({6: -6.73, 564: -6.67})[ids]
    # 0.mlp_in.422 -> mlp_neuron.24, mlp_neuron.309, mlp_neuron.684 and 2 more; "('" -9.8, '("' -8.9
    quote_open = sparse({432: -8.94, 564: -9.75})[ids]
    # 0.mlp_in.511 -> mlp_neuron.684, mlp_neuron.1955, mlp_neuron.1969 and 1 more
    # 's' -4.2, '._' 4.3, 'ing' -4.9, ' f' 4.5, "('" 2.6, 'i' 4.3
    dot_underscore_vs_word_part = (
        sparse({72: 4.32, 82: -4.19, 299: 4.52, 324: -4.93, 342: 4.34, 564: 2.58})[ids]
    )
    # 0.mlp_neuron.24 -> mlp_out.391
    neuron_quote_open = gelu(-0.148 * squote_412 - 0.223 * quote_open - 1.17)
    # 0.mlp_neuron.309 -> mlp_out.265, mlp_out.391
    neuron_quote_open_309 = gelu(-0.157 * quote + 0.224 * dquote - 0.194 * quote_open - 1.45)
    # 0.mlp_neuron.684 -> mlp_out.265, mlp_out.391
    neuron_quote_open_684 = (
        gelu(0.0732 * dquote - 0.15 * squote_412 - 0.139 * quote_open
        + 0.106 * dot_underscore_vs_word_part - 0.597)
    )
    # 0.mlp_neuron.1955 -> mlp_out.265, mlp_out.391
    neuron_quote_open_1955 = gelu(-0.256 * quote_open + 0.116 * dot_underscore_vs_word_part - 0.787)
    # 0.mlp_neuron.1969 -> mlp_out.265, mlp_out.391
    neuron_squote = (
        gelu(0.218 * squote - 0.105 * squote_238 - 0.0352 * quote - 0.239 * squote_412
        + 0.244 * dot_underscore_vs_word_part - 1.13)
    )
    # 0.mlp_neuron.2025 -> mlp_out.265, mlp_out.391
    neuron_quote = (
        gelu(0.199 * squote - 0.0698 * squote_238 - 0.146 * quote - 0.164 * dquote
        - 0.0469 * squote_412 - 0.0825 * quote_open + 0.192 * dot_underscore_vs_word_part
        - 1.53)
    )
    # 0.mlp_out.265 -> attn_in.265
    mlp_wrote_quote_open = (
        -0.247 * neuron_quote_open_309 - 0.0728 * neuron_quote_open_684
        - 0.155 * neuron_quote_open_1955 - 0.109 * neuron_squote - 0.22 * neuron_quote - 0.28
    )
    # 0.mlp_out.391 -> attn_in.391
    mlp_wrote_quote_open_391 = (
        -0.13 * neuron_quote_open + 0.188 * neuron_quote_open_309
        - 0.0967 * neuron_quote_open_684 - 0.0339 * neuron_quote_open_1955
        - 0.215 * neuron_squote - 0.179 * neuron_quote - 0.0556
    )
    e236 = sparse({220: 0.103, 564: -0.126})[ids]  # "('" -0.13, ' ' 0.1
    # layer 1, attention
    # 1.attn_in.236 -> attn_k.225, attn_k.227, attn_k.237 and 3 more
    space_vs_paren_squote = 33.4 * e236 + 5.88
    # 1.attn_in.265 -> attn_k.225, attn_k.226, attn_k.227 and 5 more
    quote_open_265 = 5.87 * mlp_wrote_quote_open - 0.0143
    # 1.attn_in.391 -> attn_k.252, attn_v.227, attn_v.246 and 1 more
    quote_open_391 = 16.2 * mlp_wrote_quote_open_391 - 0.156
    # 1.attn_in.520 -> attn_k.226, attn_k.227, attn_k.228 and 3 more
    constant = np.full(len(ids), 0.768)
    position = POSITION[at]  # 1.attn_in.521 -> attn_k.225, attn_k.226, attn_k.227 and 6 more
    position = beyond(0.983, position)  # AbsTopK
    position_537 = POSITION_537[at]  # 1.attn_in.537 -> attn_k.225, attn_k.226, attn_k.227 and 6 more
    position_543 = POSITION_543[at]  # 1.attn_in.543 -> attn_k.225, attn_k.226, attn_k.228 and 3 more
    # 1.attn_k.225
    key_position = (
        0.0771 * space_vs_paren_squote + 0.115 * quote_open_265 - 0.594 * position
        + 0.465 * position_537 - 0.147 * position_543 - 2.62
    )
    # 1.attn_k.226
    key_position_226 = (
        -0.134 * quote_open_265 - 0.16 * constant + 0.574 * position - 0.467 * position_537
        + 0.163 * position_543 + 2.97
    )
    # 1.attn_k.227
    key_position_227 = (
        -0.0962 * space_vs_paren_squote - 0.085 * quote_open_265 - 0.109 * constant
        + 0.605 * position - 0.498 * position_537 + 2.55
    )
    # 1.attn_k.228
    key_position_228 = (
        0.12 * quote_open_265 + 0.14 * constant - 0.566 * position + 0.488 * position_537
        - 0.188 * position_543 - 3.08
    )
    # 1.attn_k.237
    key_position_237 = (
        -0.0977 * space_vs_paren_squote - 0.0977 * constant + 0.41 * position
        - 0.66 * position_537 + 0.103 * position_543 + 0.522
    )
    # 1.attn_k.244
    key_position_244 = (
        0.169 * space_vs_paren_squote + 0.0361 * quote_open_265 - 0.48 * position
        + 0.268 * position_537 - 1.18
    )
    # 1.attn_k.246
    key_position_246 = (
        0.185 * space_vs_paren_squote + 0.0986 * quote_open_265 + 0.108 * constant
        - 0.432 * position + 0.344 * position_537 - 0.163 * position_543 - 1.16
    )
    # 1.attn_k.250
    key_position_250 = (
        -0.25 * space_vs_paren_squote - 0.101 * quote_open_265 - 0.054 * constant
        + 0.262 * position - 0.154 * position_537 + 0.0305 * position_543 + 2.42
    )
    # 1.attn_k.252
    key_position_252 = (
        -0.0508 * quote_open_265 - 0.11 * quote_open_391 + 0.357 * position
        - 0.184 * position_537 + 2.88
    )
    value_quote_open = 0.0996 * quote_open_391 - 0.0231  # 1.attn_v.227 -> attn_out.296
    # 1.attn_v.246 -> attn_out.285, attn_out.296
    value_quote_open_246 = -0.173 * quote_open_391 + 0.0338
    # 1.attn_v.254 -> attn_out.63, attn_out.285, attn_out.296
    value_quote_open_254 = 0.147 * quote_open_391 - 0.166
    value_quote_open_254 = beyond(0.34, value_quote_open_254)  # AbsTopK
    look_1_7 = (
        attend(ids, -0.192 * key_position + 0.278 * key_position_226 + 0.305 * key_position_227
        - 0.293 * key_position_228 + 0.401 * key_position_237 - 0.297 * key_position_244
        - 0.225 * key_position_246 + 0.176 * key_position_250 + 0.108 * key_position_252
        + 2.16, -0.797)
    )
    wrote_constant = np.full(len(ids), 0.0859)  # 1.attn_out.12 -> 12
    wrote_quote_open = 0.168 * (look_1_7 @ value_quote_open_254) - 0.167  # 1.attn_out.63 -> 63
    wrote_quote_open = beyond(0.21, wrote_quote_open)  # AbsTopK
    # 1.attn_out.285 -> 285
    wrote_quote_open_285 = (
        0.189 * (look_1_7 @ value_quote_open_246) - 0.0557 * (look_1_7 @ value_quote_open_254)
        + 1.11
    )
    # 1.attn_out.296 -> 296
    wrote_quote_open_296 = (
        0.236 * (look_1_7 @ value_quote_open) - 0.252 * (look_1_7 @ value_quote_open_246)
        + 0.185 * (look_1_7 @ value_quote_open_254) - 0.0645
    )
    wrote_constant_331 = np.full(len(ids), 0.12)  # 1.attn_out.331 -> 331
    # the answers
    final_constant = wrote_constant - 0.00359  # resid_final.12
    final_quote_open = wrote_quote_open + 1.14  # resid_final.63
    final_quote_open_285 = wrote_quote_open_285 + 0.00658  # resid_final.285
    final_quote_open_296 = wrote_quote_open_296 + 0.0532  # resid_final.296
    final_constant_331 = wrote_constant_331 + 0.851  # resid_final.331
    logit_dquote_close = 5 * final_constant - 4.11 * final_quote_open_285 - 109
    logit_squote_close = (
        -5.46 * final_quote_open - 5.17 * final_quote_open_296 - 6.78 * final_constant_331 - 105
    )
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
-2.96 -3.04 -2.94 -2.82 -2.6 -2.5 -2.05 -0.983 -0.361 -0.189 -0.312 0.0343 -0.0449 0.0678 0.01
0.0308 0.0332 0.049 0.00242 0.0379 -0.00858 -0.156 0.0124 0.0657 0.0417 0.148 -0.0162 -0.104
-0.0643 0.0149 -0.0398 -0.000157 -0.0546 -0.0383 -0.0402 0.0216 0.0302 0.039 -0.0229 0.00744
0.0343 0.0849 0.0291 -0.00191 -0.285 0.0307 0.065 -0.149 0.0337 0.0296 0.0467 -0.295 -0.144
-0.176 -0.32 -0.0314 -0.0358 -0.233 -0.133 -0.0879 0.16 -0.00448 -0.0302 0.0103 0.0585 0.0618
0.0143 0.0916 0.244 0.0391 0.17 -0.00666 -0.0472 -0.0408 -0.0435 -0.0393 -0.0658 -0.0213 0.0564
-0.0394 0.0211 -0.0342 0.0136 0.071 -0.065 -0.00918 0.0146 0.00738 0.0249 -0.0412 0.0158
0.000262 0.215 0.189 0.0242 -0.043 0.0753 -0.0801 0.0765 0.105 0.0981 -0.116 -0.0112 0.176
-0.0599 -0.0251 0.00136 0.101 -0.00676 0.0291 0.1 -0.0903 0.215 0.259 0.414 1.42 1.73 2.41 3.12
3.63 4.18 3.66 3.84 3.85 3.91 3.78 3.33 2.96
""".split(), float)
POSITION_537 = np.array("""
0.328 0.409 0.109 0.0853 0.0617 0.0677 0.291 1.46 2.41 2.87 3.29 3.47 3.78 4 3.69 3.56 3.57 3.44
3.46 3.69 3.49 3.31 3.16 2.83 2.73 2.51 2.22 1.7 1.35 1.25 0.939 -0.0414 -0.0424 0.028 -0.0503
-0.0378 -0.0598 -0.0479 0.0313 0.0753 0.0162 0.0973 0.103 0.0497 -0.0525 0.0155 0.302 0.149
0.000554 -0.0212 0.0386 0.00551 -0.0209 -0.00975 -0.0656 0.00408 -0.0153 -0.0174 -0.00993 0.0741
0.0139 0.0499 0.0128 0.126 -0.0041 0.0601 -0.0678 -0.0415 -0.0517 -0.0625 -0.0589 0.0123 0.0186
-0.0258 0.0335 -0.0325 -0.0298 -0.0263 -0.0111 0.0154 -0.034 0.026 -0.0385 0.0611 0.0444 -0.192
0.00993 -0.283 -0.0351 -0.0738 0.000115 0.0797 0.0654 -0.0628 -0.111 -0.822 -1.04 -1.22 -1.65
-1.66 -2.07 -2.42 -2.56 -2.19 -2.91 -3.09 -2.89 -3.06 -3.59 -3.46 -3.98 -3.89 -3.46 -2.96 -2.7
-1.7 -1.03 -0.407 -0.195 -0.0416 -0.128 -0.149 -0.0757 -0.35 -0.411 -0.451 -1.05 -1.62
""".split(), float)
POSITION_543 = np.array("""
-0.302 -1.11 -1.27 -1.29 -1.18 -0.291 0.00612 0.0298 0.19 0.345 0.394 0.171 0.0111 -0.27 -1.36
-1.28 -1.4 -1.47 -1.46 -1.37 -1.32 -0.0231 -0.101 -0.281 -0.27 -0.453 -0.873 -1.82 -2.56 -2.81
-3.14 -3.2 -3.67 -3.6 -3.36 -3.82 -3.11 -2.56 -2.13 -1.59 -1.01 -0.332 -0.239 -0.119 0.0926
0.187 0.266 0.111 0.0694 0.00526 -0.0672 -0.0365 -0.194 0.0329 0.0226 0.0957 0.00315 -0.0234
0.0564 0.0907 0.0979 0.00933 0.0236 -0.049 0.0539 0.0217 0.0263 -0.0332 -0.0174 -0.0129 0.0469
-0.132 -0.00774 0.00274 0.0623 -0.00146 0.061 0.28 0.341 1.14 1.56 1.92 2.8 3.41 4.11 3.49 3.73
3.85 3.55 3.07 3.09 2.59 2.43 2.02 1.85 0.357 0.318 0.0568 -0.125 -0.368 -0.329 -0.192 -0.383
-0.256 -0.376 0.153 0.054 0.0704 0.102 0.186 0.321 0.251 0.443 0.111 0.179 0.398 0.459 0.894
0.641 0.476 0.261 0.0965 -0.23 0.078 -0.402 -0.232 -0.244 -0.25
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
