"""Evaluation on benchmarks of composed retrieval, by the code that serves queries."""
