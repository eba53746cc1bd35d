"""Alembic revisions. Each is safe to run while the previous release is still serving."""
