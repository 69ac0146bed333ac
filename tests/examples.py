"""How many examples Hypothesis tries: few in ``make test``, many in ``make test-all``."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

#: The examples of a property in ``make test``, and in ``make test-all``.
QUICK, THOROUGH = 25, 300


def register_profiles() -> None:
    """Make the profiles known; every run explores anew, and prints how to try a failure again."""
    common = settings(
        deadline=None,  # no test measures time
        derandomize=False,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],  # a busy machine is slow, too
    )
    settings.register_profile("quick", common, max_examples=QUICK)
    settings.register_profile("thorough", common, max_examples=THOROUGH)
    settings.load_profile("quick")  # --hypothesis-profile comes later, and wins


def share_of_examples(share: int) -> int:
    """Return the number of examples for a property whose single example is costly.

    Args:
        share: 2 tries half as many examples as other properties do, in either profile.
    """
    return settings().max_examples // share
