"""HTTP only: parse, call one use case, serialise."""
