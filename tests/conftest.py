"""Settings of every test."""

from hypothesis import settings

settings.register_profile("warmstart", deadline=None, print_blob=True)
settings.load_profile("warmstart")
