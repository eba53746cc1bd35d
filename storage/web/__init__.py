"""Adapter to web servers that somebody else named: `HttpFetcher`. See docs/adr/0016."""
