"""The observations that an agent was made for, and checks of spaces."""

from kerasrl2.layers import NestedNormalization, RunningNormalization
from kerasrl2.layers.specs import NestedSpec, ObservationSpec


def normalizer_for(spec):
    """What normalises observations, or None where they need it not.

    Indices are one-hot encoded, and integers of 8 bits scaled by their bounds.

    Args:
        spec: `ObservationSpec` or `NestedSpec` of what networks are given.

    Returns:
        `RunningNormalization`, `NestedNormalization` or None.
    """
    if isinstance(spec, NestedSpec):
        found = _mapped(normalizer_for, spec)
        layers = found.values() if isinstance(found, dict) else found
        return (
            NestedNormalization(found) if any(x is not None for x in layers) else None
        )
    if spec.num_classes is not None or spec.dtype in ("uint8", "int8", "bool"):
        return None
    return RunningNormalization(integers=spec.is_integer)


def seen_by_network(spec, normalizer):
    """The spec of what a network gets behind what normalises observations, or None."""
    if isinstance(spec, NestedSpec):
        if normalizer is None:
            return spec
        return NestedSpec(
            _mapped(seen_by_network, spec, lambda key: (normalizer.entry(key),))
        )
    changes = normalizer is not None and (normalizer.integers or not spec.is_integer)
    return spec.normalized() if changes else spec


def batch_shape(spec):
    """Shape `(None, ...)` of a batch of observations, or the nest of shapes."""
    if isinstance(spec, NestedSpec):
        return _mapped(batch_shape, spec)
    return (None, *spec.shape)


def _mapped(function, spec, more=lambda key: ()):
    """What a function says of the entries of a `NestedSpec`, nested as these."""
    if isinstance(spec.entries, tuple):
        return tuple(function(part, *more(i)) for i, part in enumerate(spec.entries))
    return {key: function(part, *more(key)) for key, part in spec.entries.items()}


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
    if isinstance(known, NestedSpec) or isinstance(received, NestedSpec):
        return _same_entries(known, received)
    if known.shape != received.shape:
        return False
    if known.num_classes is not None:
        classes = known.num_classes, known.start
        return classes == (received.num_classes, received.start)
    bounds = [(spec.low, spec.high) for spec in (known, received)]
    comparable = len(known.shape) > 1 and (None, None) not in bounds
    return not comparable or bounds[0] == bounds[1]  # pictures of one scale


def _same_entries(known, received):
    if not isinstance(known, NestedSpec) or not isinstance(received, NestedSpec):
        return False
    mine, theirs = known.entries, received.entries
    if isinstance(mine, dict) != isinstance(theirs, dict) or len(mine) != len(theirs):
        return False
    keys = mine if isinstance(mine, dict) else range(len(mine))
    if isinstance(mine, dict) and mine.keys() != theirs.keys():
        return False
    return all(_same_observations(mine[key], theirs[key]) for key in keys)
