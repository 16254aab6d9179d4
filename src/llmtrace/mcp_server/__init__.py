"""Serves the traces of a store to a coding agent, over the Model Context Protocol. Read-only."""
