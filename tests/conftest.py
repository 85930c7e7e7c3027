"""What holds for all tests."""

from hypothesis import settings

# No test is about time: these machines are shared.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
