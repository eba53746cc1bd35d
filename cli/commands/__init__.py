"""Client commands: they speak HTTP through `cli.client` and import nothing of ours but what it is made of."""
