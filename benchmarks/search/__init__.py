"""Coarse search at 10 k, 100 k and 300 k vectors, with filters, beside FAISS on the same vectors."""
