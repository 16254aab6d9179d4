"""Tool arguments, outputs and results against their schemas: read, judged, repaired, explained.

::

    schema.py  google.py  signature.py          where a schema comes from: a provider's form, a Python function
    │                     ├── annotations.py  docstrings.py  parameters.py  results.py
    parsing.py  malformed.py                    the raw text, and why it is not JSON
    arguments.py                                the verdicts: check_call, check_arguments, check_output, check_result
    ├── compiled.py                             a schema made ready: as written, and closed (closed.py)
    │   ├── bounds.py  keywords.py              what it may cost, before it runs
    │   └── engines.py                          rust.py in line, fallback.py where that cannot
    └── violations.py  alternatives.py          faults (faults.py) into codes, pointers and words
    policy.py                                   what to do: repair, reply

Law: pure, and never raises, whatever a model, a program or a server hands over.
"""
