"""A re-index under constant load: queries and upserts go on, a worker is killed, and it is undone in the end."""
