"""Robust pruning: circuits that also hold under the ablations that `verification` asks for.

While the mask is learned, the constraints take turns, one a step; a selection has to hold under all
of them. They are the ways in which circuits found under mean ablation alone are known to fail
(method section 13):

    attention  mean ablation, and every kept head looks where it looks in the full model
    subset     a random half of what is off runs on
    resample   what is off has the values of another prompt
    zero       what is off is zero
    frozen     mean ablation, with every norm dividing by what it divides by in the full model
    worst      an adversary chooses which part of what is off runs on
    natural    on text outside the task, the circuit claims its answers less than on its prompts
"""
