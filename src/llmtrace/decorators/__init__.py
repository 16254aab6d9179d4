"""The decorators and context managers: ``tool``, ``agent``, ``workflow``, ``span``.

Each works bare or with arguments, on plain, async, generator and async-generator functions, methods, class methods and static
methods; all but ``tool`` also as ``with`` and ``async with`` blocks. Law: what is decorated behaves as without us.
"""
