"""Stress: what a robust mask has to stand while it is learned, and a robust cut when it is made.

The kinds take turns, one a step; a cut has to hold under all of them. These are the ways in which
circuits found under mean ablation alone are known to fail (method section 13), and what `faith`
tests saved circuits for:

    attention  mean ablation, and every kept head looks where it looks in the full model
    subset     a random half of what is off runs on
    resample   what is off has the values of another prompt
    zero       what is off is zero
    frozen     mean ablation, with every norm dividing by what it divides by in the full model
    worst      an adversary chooses which part of what is off runs on
    natural    on text outside the task, the circuit claims its answers less than on its prompts
"""
