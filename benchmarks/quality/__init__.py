"""Quality of retrieval on SynthCIR: every strategy, with and without the judge, by the code that serves queries."""
