"""Latency and throughput of the HTTP API, beside everything that it needs to answer."""
