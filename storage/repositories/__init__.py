"""Repositories: each implements ports of `core.ports` with plain statements and explicit mapping of rows."""
