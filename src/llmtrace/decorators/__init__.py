"""The decorators and blocks: ``tool``, ``agent``, ``workflow``, ``span``, ``inference``, ``retrieval``.

Each decorator works with or without arguments, on plain, async, generator and async-generator functions, methods, class methods
and static methods. All but ``tool`` are also ``with`` and ``async with`` blocks; ``inference`` and ``retrieval`` are only
blocks. Law: a decorated function behaves as it does without us.
"""
