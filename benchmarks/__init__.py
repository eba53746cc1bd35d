"""Benchmarks: each is one command that measures, prints a table and writes JSON to `benchmarks/results/`."""
