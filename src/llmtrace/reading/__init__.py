"""What happened in a run: conversations, calls, and the origin of each value that a model wrote.

`timeline` reads a run span by span, live and afterwards. `ended_run` is what the laws judge at its end, and `read` makes it of
a stored trace. `lineage` has three verdicts about a value: *grounded* (with the place), *ungrounded* (an identifier that
nothing visible contains: the model made it up), *unknown* (any other value that is not found). Pure: the same spans give the
same reading. See `docs/explanation/lineage.md`.
"""
