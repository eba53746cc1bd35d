"""The `setr` command."""
