"""Seeded training scripts: the demo encoder and the demo judge."""
