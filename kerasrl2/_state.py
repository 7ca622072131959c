"""What an object is made of: its variables, and everything else a program depends on."""

import functools
import hashlib
import types
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasrl2._private import layers_of

_PLAIN = bool, int, float, complex, str, bytes, slice, type(None), np.dtype, tf.DType
_KERAS = keras.Layer, keras.optimizers.Optimizer, keras.metrics.Metric
_NAMELESS = "name", "seed", "trainable"  # of a layer's configuration
_INTERNAL = {
    "_build_shapes_dict",
    "_saved_model_inputs_spec",
    "history",
    "_name_scope",
}


@functools.cache
def _internal():
    """What Keras and TensorFlow keep in attributes of models, layers and modules.

    Not at import: an optimizer has variables, after which threads cannot be set.
    """
    reference = keras.Model(name="reference")
    reference.compile("sgd")
    return {*vars(reference), *vars(keras.layers.Layer()), *vars(tf.Module())}


class State(NamedTuple):
    """What was found in one or several objects.

    Attributes:
        variables: Dictionary of names to `tf.Variable`, in an order that is the same in
            each process.
        unsaved: Set of the names of those that no Keras object holds, so that Keras
            does not save them.
        structure: Hashable. Two objects with equal structures make equal programs,
            whatever the values of their variables.
        identities: List of objects of which only the identity counts. Whoever keeps the
            structure keeps these, or their identities may be used again.
    """

    variables: Any
    unsaved: Any
    structure: Any
    identities: Any


def state_of(**roots):
    """`State` of objects: agents, buffers, environments, layers, nests of them.

    Walks through attributes, lists and dictionaries. Hyper-parameters that are numbers
    are variables. A class may list attributes that are neither state nor structure in
    `not_state`.

    Args:
        **roots: Objects by the first part of the names of what is in them.
    """
    walk = _Walk()
    for name, value in roots.items():
        walk.visit(name, value)
    return State(walk.variables, walk.unsaved, tuple(walk.structure), walk.identities)


class _Walk:
    def __init__(self):
        self.variables, self.unsaved = {}, set()
        self.structure, self.identities = [], []
        self._seen = {}
        self._kept = []  # temporary objects too, or their ids would be used again

    def visit(self, path, value, saved=False):
        if isinstance(value, keras.Variable):
            value = value.value
        if isinstance(value, _PLAIN):
            self._note(path, type(value).__name__, repr(value))
        elif isinstance(value, tf.Tensor | np.ndarray | np.generic):
            value = np.asarray(value)
            content = hashlib.sha256(value.tobytes()).hexdigest()
            self._note(path, "array", value.dtype.str, value.shape, content)
        elif id(value) in self._seen:
            self._note(path, "is", self._seen[id(value)])
        else:
            self._seen[id(value)] = path
            self._kept.append(value)
            self._visit_object(path, value, saved)

    def _visit_object(self, path, value, saved):
        if isinstance(value, tf.Variable):
            self.variables[path] = value
            if not saved:
                self.unsaved.add(path)
            self._note(path, "variable", value.dtype.name, tuple(value.shape))
        elif hasattr(value, "items") and hasattr(value, "keys"):
            self._note(path, "dict", tuple(map(repr, value)))
            for key, item in value.items():
                self.visit(f"{path}/{key}", item)
        elif isinstance(value, list | tuple):
            self._note(path, "list", len(value))
            for i, item in enumerate(value):
                self.visit(f"{path}/{i}", item)
        elif isinstance(value, _KERAS):
            self._visit_keras(path, value)
        elif hasattr(value, "contains") and hasattr(value, "sample"):  # a space
            arrays = [getattr(value, name, None) for name in ("low", "high")]
            self._note(path, repr(value))
            self.visit(f"{path}/bounds", arrays)
        elif isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
            self._identity(path, value)
        elif isinstance(value, keras.initializers.Initializer):
            self._identity(path, type(value))  # done: its seed is in no program
        elif isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
            self._identity(path, type(value))
            self.visit(f"{path}/config", value.get_config())
        elif isinstance(getattr(value, "__dict__", None), dict):
            self._identity(path, type(value))
            self._attributes(path, value)
        else:
            self._identity(path, value)

    def _visit_keras(self, path, value):
        """A layer, model, optimizer or metric: its configuration and its variables."""
        self._identity(path, type(value))
        own = _is_own(value)
        is_agent = hasattr(value, "not_state")
        if isinstance(value, keras.optimizers.Optimizer):
            config = {k: v for k, v in value.get_config().items() if k != "name"}
            if isinstance(config["learning_rate"], float | int):
                config["learning_rate"] = None  # a variable
            self.visit(f"{path}/config", config)
        elif not is_agent and isinstance(value, keras.Layer):
            names = {layer.name: f"#{i}" for i, layer in enumerate(layers_of(value))}
            try:
                config = value.get_config()
            except NotImplementedError:
                config, own = None, True
            self.visit(f"{path}/config", _nameless(config, names))
            for i, layer in enumerate(layers_of(value)):
                if layer is not value and _is_own(layer):
                    self._attributes(f"{path}/layers/{i}", layer)
        if is_agent or own:
            self._attributes(path, value)
        for i, variable in enumerate(value.variables):
            # Names of slots hold those of layers, which are counted in each process.
            slot = isinstance(value, keras.optimizers.Optimizer)
            name = f"{path}/{i}" if slot else f"{path}/{i}/{variable.name}"
            self.visit(name, variable, saved=True)

    def _attributes(self, path, value):
        left_out = _INTERNAL | _internal() | set(getattr(value, "not_state", ()))
        for name, item in sorted(vars(value).items()):
            if name not in left_out and not name.startswith("_self_"):
                self.visit(f"{path}/{name}", item)

    def _note(self, *facts):
        self.structure.append(facts)

    def _identity(self, path, value):
        self._note(path, "identity", id(value))
        self.identities.append(value)


def _is_own(value):
    """Whether the class of a Keras object is not one of Keras itself."""
    return type(value).__module__.partition(".")[0] != "keras"


def _nameless(config, names):
    """A configuration without what differs between two networks built alike."""
    if isinstance(config, dict):
        return {
            key: _nameless(value, names)
            for key, value in config.items()
            if key not in _NAMELESS and not key.endswith("_initializer")
        }
    if isinstance(config, list | tuple):
        return [_nameless(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config
