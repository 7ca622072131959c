"""Numbers that change over a run: floats, or Keras schedules of a step counter."""

import kerasrl2._startup  # noqa: F401

import keras

Schedule = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable(package="kerasrl2")
class StartingAt(Schedule):
    """A schedule that begins later: at step `start` it says what it says at 0.

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule`.
        start: Integer >= 0, on the same counter.

    Example:
    >>> halved = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    >>> later = StartingAt(halved, 100)
    >>> [float(later(step)) for step in (50, 100, 105, 110)]
    [1.0, 1.0, 0.5, 0.0]
    """

    def __init__(self, schedule, start):
        self.schedule, self.start = schedule, int(start)

    def __call__(self, step):
        step = keras.ops.convert_to_tensor(step)
        return self.schedule(keras.ops.maximum(step - self.start, 0))

    def get_config(self):
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "start": self.start}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        schedule = keras.saving.deserialize_keras_object(
            config["schedule"], custom_objects=custom_objects
        )
        return cls(schedule, config["start"])


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
