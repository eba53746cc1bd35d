"""Processes of one machine: the embedded services and the supervisor of `setr up`, the demo and the tests."""
