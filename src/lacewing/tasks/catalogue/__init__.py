"""The twenty tasks of the paper's Table 1, by what they are about; `paper` holds their order."""
