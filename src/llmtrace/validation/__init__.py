"""Checks tool arguments, outputs and results against their schemas, repairs calls, and explains violations.

::

    tool_definitions.py  signature.py                      where a schema comes from: a provider's format, a Python function
    │                     ├── annotations.py  docstrings.py  parameters.py  result_schema.py
    parse_arguments.py                                     parse raw text, and explain why it is not JSON
    check_values.py                                        check_call, check_arguments, check_output, check_result
    ├── compiled_schema.py                                 a schema ready to check: as written, and closed
    │   ├── limits.py  keywords.py                         limits on what a check may cost
    │   └── rust_engine.py                                 or python_engine.py if the platform or a pattern needs it
    └── violations.py                                      turns faults (schema_errors.py) into codes, pointers, messages
    repair.py                                              repair a call, or reply to the model

Law: checks have no side effects and never raise, whatever a model, a program or a server sends.
"""
