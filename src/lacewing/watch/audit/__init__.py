"""An audit of a model and its circuits: one folder that anyone can check.

audit.json        everything, for programs; see `schema`
index.html        the same for people, made from audit.json alone
statement.json    an in-toto test-result statement about the model's and the circuits' files
signature.json    where it was signed (extra `[sign]`)
manifest.json     sizes and sums of these
"""
