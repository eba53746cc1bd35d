"""For all tests: how long an example of hypothesis takes is no reason to fail; machines are slow, and busy."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
