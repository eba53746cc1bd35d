"""Fault injection: imports that are hurt at random moments, and a count afterwards of what became of every item."""
