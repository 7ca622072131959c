"""Saves agents: configuration, variables and exported policies."""

import contextlib
import warnings
from pathlib import Path

import keras

from kerasrl2._private import layers_of
from kerasrl2._state import state_of
from kerasrl2.agents._allowed import code_in
from kerasrl2.agents._configuration import FORMAT, check_loadable
from kerasrl2.agents.exporting import export

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
            if not name.endswith("learning_rate"):  # part of an optimizer
                value = getattr(self, name)
                plain = isinstance(value, bool | int | float | str | None)
                config[name] = value if plain else serialize(value)
        return config

    def get_build_config(self):
        """What `load_agent` reads before it makes anything."""
        return {"format": FORMAT, "saved_as": type(self).__name__}

    def build_from_config(self, config):
        """Does nothing: the constructor builds an agent."""

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

    def save(self, filepath, overwrite=True, **kwargs):
        """Writes the agent to a file that `load_agent` reads.

        Args:
            filepath: String or path that ends with `.keras`.
            overwrite: Boolean, replace a file of that name without asking.
            **kwargs: None; what else Keras' `save` takes gives no such file.

        Raises:
            ValueError: `load_agent` would refuse the file; nothing is written.
        """
        path = Path(filepath)
        if path.suffix != ".keras" or any(v is not None for v in kwargs.values()):
            more = "".join(f", {name}={value!r}" for name, value in kwargs.items())
            raise ValueError(
                "Expected `save(filepath)` with a name that ends with '.keras', for "
                f"`load_agent`. Received: {str(filepath)!r}{more}. Weights alone are "
                "written by `save_weights`."
            )
        check_loadable(self)
        super().save(path, overwrite=overwrite)

    def loader(self):
        """`load_agent`, for processes that get this agent as a file."""
        from kerasrl2.agents.loading import load_agent  # which imports agents

        return load_agent

    def load_weights(self, filepath, **kwargs):
        """Loads weights that `save_weights` or `save` of an agent alike wrote.

        Args:
            filepath: String or path.
            **kwargs: Of Keras' `load_weights`.

        Raises:
            ValueError: They are of another agent; then this one stays as it is.
        """
        with self._unchanged_by_failure(filepath):
            super().load_weights(filepath, **kwargs)

    @contextlib.contextmanager
    def _unchanged_by_failure(self, filepath):
        variables = [v.value for v in self.variables]
        variables += [
            v.value for o, _ in self.optimizers().values() for v in o.variables
        ]
        variables += self._unsaved_variables().values()
        before = [variable.numpy() for variable in variables]
        try:
            yield
        except Exception as error:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)
            if isinstance(error, OSError):
                raise  # no such file, or none to read
            reason = " ".join(str(error).split())[:400] or type(error).__name__
            raise ValueError(
                f"Expected weights of a {type(self).__name__} like {self.name!r}. "
                f"Received: {filepath}, which could not be loaded: {reason} The agent "
                "is as it was."
            ) from error

    def warn_if_not_loadable(self):
        """Warns of layers with which `save` will refuse, before anything is learned."""
        for layer in layers_of(self.network):
            found = code_in(layer)
            if found is not None:
                warnings.warn(
                    f"This {type(self).__name__} can learn but not be saved: {found} "
                    "would be code in the file, and `load_agent` runs none. Write it "
                    "as a subclass of `keras.layers.Layer`, or a function with a name.",
                    stacklevel=4,
                )

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

    def export(self, filepath, format="saved_model"):
        """Writes the greedy policy for programs without kerasrl2.

        From a batch of observations, as the environment gives them, to `"action"`, as
        `act` returns it, and to what it was chosen from: `"action_values"` `[B, A]` of
        an agent that learns them; of others the head's `"parameters"` `[B, P]`, of
        discrete actions also as `"probabilities"`, and `"value"` `[B]` of a critic.
        Normaliser, scaling and head are inside.

        - `"saved_model"`: a directory for TensorFlow and TensorFlow Serving, whose
          `serving_default` signature this is; `serve` gives actions alone.
        - `"tflite"`: a file for LiteRT, with the same signature.
        - `"onnx"`: a file for ONNX Runtime and others; needs `kerasrl2[onnx]`.

        The inputs are named `observation`, or after the entries of observations that
        consist of several.

        Args:
            filepath: String or path: a directory that does not exist or is empty, or a
                file that ends with `.tflite` or `.onnx`, which is replaced.
            format: String, one of the three.

        Raises:
            ValueError: The policy remembers, something is in the directory, or a
                converter cannot take the network.
            ImportError: The converter is not installed.
        """
        export(self, filepath, format)
