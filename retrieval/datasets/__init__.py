"""Data sets: the synthetic catalog and, later, readers of the public benchmarks. Never imports torch."""
