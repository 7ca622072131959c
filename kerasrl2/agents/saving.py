"""Saves agents: configuration, variables and exported policies."""

import keras
import tensorflow as tf

from kerasrl2._state import state_of

_PREFIX = "own."  # of names of variables that Keras would not save


class Saving:
    """Mixin that extends saving and loading of Keras models, with `export`.

    The configuration consists of the attributes named like the constructor's arguments.
    Variables that no Keras object holds, such as `self.scale = tf.Variable(1.0)` or
    those of a `tf.Module`, are saved with the weights.
    """

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        config = {"name": self.name}
        for name in self.hyperparameters():
            if name != "learning_rate":  # part of the optimizer
                value = getattr(self, name)
                plain = isinstance(value, bool | int | float | str | None)
                config[name] = value if plain else serialize(value)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        deserialize = keras.saving.deserialize_keras_object
        config = {
            name: deserialize(value, custom_objects=custom_objects)
            if isinstance(value, dict | list)
            else value
            for name, value in config.items()
        }
        return cls(**config)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for name, variable in self._unsaved_variables().items():
            store[name] = variable.numpy()

    def load_own_variables(self, store):
        stored = {name: store[name] for name in store.keys()}  # noqa: SIM118
        for name, variable in self._unsaved_variables().items():
            if name not in stored:
                raise ValueError(
                    f"Expected a file with the variable {name.removeprefix(_PREFIX)} "
                    f"of {type(self).__name__}. Received: one without it."
                )
            variable.assign(stored.pop(name))
        super().load_own_variables(stored)

    def _unsaved_variables(self):
        """Dictionary of names in a file to variables that Keras would not save."""
        state = state_of(buffer=getattr(self, "buffer", None), agent=self)
        return {
            _PREFIX + name.partition("/")[2].replace("/", "."): variable
            for name, variable in state.variables.items()
            if name in state.unsaved
            and name.startswith("agent/")
            and "/_numbers/" not in name  # part of the configuration
        }

    def export(self, filepath):
        """Writes a SavedModel whose `serve` maps observations to greedy actions."""
        spec = self.observation_spec
        module = tf.Module()
        module.agent_variables = [variable.value for variable in self.variables]
        module.serve = tf.function(
            lambda observation: self.act(observation, training=False),
            input_signature=[tf.TensorSpec([None, *spec.shape], spec.dtype)],
            autograph=False,
        )
        tf.saved_model.save(module, str(filepath))
