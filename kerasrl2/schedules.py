"""Numbers that change over a run: floats, or Keras schedules of a step counter."""

import kerasrl2._startup  # noqa: F401

import keras

Schedule = keras.optimizers.schedules.LearningRateSchedule


def value_at(schedule, step):
    """A float as it is, or what a Keras schedule says at `step`.

    Args:
        schedule: Float, or `keras.optimizers.schedules.LearningRateSchedule`.
        step: Scalar integer, the counter that the schedule is a function of.

    Example:
    >>> halved = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    >>> value_at(0.3, 5), float(value_at(halved, 5))
    (0.3, 0.5)
    """
    return schedule(step) if isinstance(schedule, Schedule) else schedule


def serialize_schedule(schedule):
    """A float as it is, or the configuration of a Keras schedule."""
    if isinstance(schedule, Schedule):
        return keras.saving.serialize_keras_object(schedule)
    return schedule


def deserialize_schedule(config):
    """The inverse of `serialize_schedule`."""
    if isinstance(config, dict):
        return keras.saving.deserialize_keras_object(config)
    return config
