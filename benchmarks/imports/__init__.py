"""Imports at scale: time and memory against size, the invariants of a job while it runs, and a second, equal import."""
