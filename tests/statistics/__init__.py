# ruff: noqa: A005  (the name is that of the package under test)
