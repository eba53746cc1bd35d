"""The nightly delta: what a manifest costs of which one row in a hundred changed since yesterday."""
