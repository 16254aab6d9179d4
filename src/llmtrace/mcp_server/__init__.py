"""The traces of a store for a coding agent, over the Model Context Protocol. Read-only."""
