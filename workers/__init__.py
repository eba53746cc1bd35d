"""Celery only: a message wakes a worker, which runs one unit and saves its state."""
