"""The method: encoders, composition, re-ranking, data sets and training."""
