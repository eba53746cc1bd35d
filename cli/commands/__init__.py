"""Client commands: they speak HTTP through `cli.client` and import nothing else of ours."""
