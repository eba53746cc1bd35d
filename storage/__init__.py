"""Adapters to stateful services: Postgres, pgvector and S3."""
