"""Property tests are not timed: the machine that runs them may be busy. What must be quick says so in its own test."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
