"""Settings of Hypothesis for fuzzing: the same cases each time."""

from hypothesis import HealthCheck, settings


def fuzz(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
