"""The observations that an agent was made for, and checks of spaces."""

from kerasrl2.layers import RunningNormalization
from kerasrl2.layers.specs import ObservationSpec


def normalizer_for(spec):
    """A `RunningNormalization` of observations, or None where they need none.

    Indices are one-hot encoded, and integers of 8 bits scaled by their bounds.
    """
    if spec.num_classes is not None or spec.dtype in ("uint8", "int8", "bool"):
        return None
    return RunningNormalization(integers=spec.is_integer)


def seen_by_network(spec, normalizer):
    """The spec of what a network gets behind a `RunningNormalization`, or None."""
    changes = normalizer is not None and (normalizer.integers or not spec.is_integer)
    return spec.normalized() if changes else spec


def check_spaces(env, observation_spec, head):
    """Raises `ValueError` unless an environment's spaces fit an agent."""
    received = ObservationSpec.of_space(env.observation_space)
    if not _same_observations(observation_spec, received):
        raise ValueError(
            f"Expected an environment with the observations this agent was made for: "
            f"{observation_spec}. Received: {env.id!r} with {received}. Make an agent "
            f"for it with `for_env`."
        )
    if not head.fits(env.action_space):
        raise ValueError(
            f"Expected an environment with the actions this agent was made for: "
            f"{type(head).__name__} {head.get_config()}. Received: {env.id!r} with "
            f"{env.action_space}. Make an agent for it with `for_env`."
        )


def _same_observations(known, received):
    if known.shape != received.shape:
        return False
    if known.num_classes is not None:
        classes = known.num_classes, known.start
        return classes == (received.num_classes, received.start)
    bounds = [(spec.low, spec.high) for spec in (known, received)]
    comparable = len(known.shape) > 1 and (None, None) not in bounds
    return not comparable or bounds[0] == bounds[1]  # pictures of one scale
