"""The observations that an agent was made for, and checks of spaces."""

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="kerasrl2")
class ObservationSpec:
    """Shape and type of one observation.

    Args:
        shape: Sequence of integers, without the batch axis.
        dtype: String, `"float32"`, `"uint8"` or `"int32"`.
        num_classes: Integer for Discrete observations, else None.
    """

    def __init__(self, shape, dtype="float32", num_classes=None):
        self.shape, self.dtype = tuple(int(size) for size in shape), str(dtype)
        self.num_classes = num_classes

    @classmethod
    def of_space(cls, space):
        """The spec of a Gymnasium `Box` or `Discrete` space."""
        if hasattr(space, "n"):
            return cls((), "int32", int(space.n))
        return cls(space.shape, "uint8" if space.dtype == np.uint8 else "float32")

    @classmethod
    def of_network(cls, network):
        """The spec of the first input of a built Keras model."""
        inputs = network.inputs[0]
        return cls(inputs.shape[1:], inputs.dtype)

    def get_config(self):
        return {
            "shape": list(self.shape),
            "dtype": self.dtype,
            "num_classes": self.num_classes,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __eq__(self, other):
        same_class = isinstance(other, ObservationSpec)
        return same_class and self.get_config() == other.get_config()

    __hash__ = None

    def __repr__(self):
        classes = f", {self.num_classes} classes" if self.num_classes else ""
        return f"shape {self.shape} {self.dtype}{classes}"


def check_spaces(env, observation_spec, head):
    """Raises `ValueError` unless an environment's spaces fit an agent."""
    received = ObservationSpec.of_space(env.observation_space)
    same = received.shape == observation_spec.shape and (
        observation_spec.num_classes in (None, received.num_classes)
    )
    if not same:
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
