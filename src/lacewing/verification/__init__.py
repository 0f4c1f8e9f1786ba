"""The faithfulness suite: is the circuit the mechanism, or only something that answers alike?"""
