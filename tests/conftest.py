"""For every test: Hypothesis sets no deadline, as a busy machine is slow at times, and that is no failure."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
