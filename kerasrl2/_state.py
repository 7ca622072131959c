"""Finds the variables of objects, and what else compiled programs depend on."""

import functools
import hashlib
import inspect
import types
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kerasrl2._private import layers_of

_PLAIN = bool, int, float, complex, str, bytes, slice, type(None), np.dtype, tf.DType
_LIBRARIES = {"builtins", "gymnasium", "keras", "kerasrl2", "numpy", "tensorflow"}
_KERAS = keras.Layer, keras.optimizers.Optimizer, keras.metrics.Metric
_IGNORED = "name", "seed", "trainable"  # entries of a layer's configuration


class State(NamedTuple):
    """Variables and structure of one or several objects.

    Attributes:
        variables: Dictionary of names to `tf.Variable`, in the same order in every
            process.
        unsaved: Set of the names of variables that Keras does not save: no Keras object
            holds them, or only a metric does.
        structure: Hashable. Objects of equal structure make equal programs, whatever
            the values of their variables.
        identities: List of the objects that are part of the structure by their `id`.
            Keep them as long as the structure, or the ids may be reused.
    """

    variables: Any
    unsaved: Any
    structure: Any
    identities: Any


def state_of(**roots):
    """The `State` of agents, buffers, environments, layers or nests of these.

    Follows attributes, lists and dictionaries. `Number` attributes count as variables.
    A class may list attributes that are neither state nor structure in `not_state`.

    Args:
        **roots: Objects; each keyword is the first part of its variables' names.
    """
    walk = _Walk()
    for name, value in roots.items():
        walk.visit(name, value, walked=True)
    return State(walk.variables, walk.unsaved(), tuple(walk.structure), walk.identities)


@functools.cache
def _internal():
    """Names of the attributes that Keras and TensorFlow add to their objects.

    Not at import: an optimizer makes variables, and then threads can no longer be set.
    """
    model = keras.Model(name="reference")
    model.compile("sgd")
    names = {*vars(model), *vars(keras.layers.Layer()), *vars(tf.Module())}
    return names | {"_build_shapes_dict", "_name_scope", "history"}


class _Walk:
    def __init__(self):
        self.variables = {}
        self._saved, self._of_metrics = set(), set()  # identities of variables
        self.structure, self.identities = [], []
        self._seen = {}
        self._kept = []  # temporary objects too, or their ids would be reused

    def unsaved(self):
        """Names of variables that Keras does not save: also those of metrics."""
        saved = self._saved - self._of_metrics
        return {name for name, v in self.variables.items() if id(v) not in saved}

    def visit(self, path, value, walked=False):
        """Records the value at a path; `walked`: whether Keras saves what is there."""
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
            self._mark_saved(value, walked)
        else:
            self._seen[id(value)] = path
            self._kept.append(value)
            self._visit_object(path, value, walked)

    def _visit_object(self, path, value, walked):
        if isinstance(value, tf.Variable):
            self.variables[path] = value
            self._note(path, "variable", value.dtype.name, tuple(value.shape))
        elif hasattr(value, "items") and hasattr(value, "keys"):
            self._note(path, "dict", tuple(map(repr, value)))
            for key, item in value.items():
                self.visit(f"{path}/{key}", item, walked)
        elif isinstance(value, list | tuple):
            self._note(path, "list", len(value))
            for i, item in enumerate(value):
                self.visit(f"{path}/{i}", item, walked)
        elif isinstance(value, _KERAS):
            self._visit_keras(path, value, walked)
        elif hasattr(value, "contains") and hasattr(value, "sample"):  # a space
            arrays = [getattr(value, name, None) for name in ("low", "high")]
            self._note(path, repr(value))
            self.visit(f"{path}/bounds", arrays)
        elif isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
            self._identity(path, value)
        elif isinstance(value, keras.initializers.Initializer):  # used once
            self._note(path, type(value).__name__)
        elif isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
            self._identity(path, type(value))
            self.visit(f"{path}/config", value.get_config())
        elif isinstance(getattr(value, "__dict__", None), dict):
            self._identity(path, type(value))
            self._attributes(path, value)
        else:
            self._identity(path, value)

    def _visit_keras(self, path, value, walked):
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
            try:
                config = value.get_config()
            except NotImplementedError:
                config, own = None, True
            names = {name: f"#{i}" for i, name in enumerate(_layer_names(config))}
            self.visit(f"{path}/config", _nameless(config, names))
            for i, layer in enumerate(layers_of(value)):
                if layer is not value and _is_own(layer):
                    self._attributes(f"{path}/layers/{i}", layer, walked)
        if is_agent or own:
            self._attributes(path, value, walked)
        for i, variable in enumerate(value.variables):
            # Names of slots hold those of layers, which are counted in each process.
            slot = isinstance(value, keras.optimizers.Optimizer)
            name = f"{path}/{i}" if slot else f"{path}/{i}/{variable.name}"
            self.visit(name, variable)
        self._mark_saved(value, walked)

    def _mark_saved(self, value, walked):
        if isinstance(value, keras.metrics.Metric):
            self._of_metrics |= {id(v.value) for v in value.variables}
        elif walked and isinstance(value, _KERAS):
            self._saved |= {id(v.value) for v in value.variables}

    def _attributes(self, path, value, walked=False):
        left_out = _internal() | set(getattr(value, "not_state", ()))
        for name, item in sorted(vars(value).items()):
            if name not in left_out and not name.startswith("_self_"):
                self.visit(f"{path}/{name}", item, walked)

    def _note(self, *facts):
        self.structure.append(facts)

    def _identity(self, path, value):
        self._note(path, "identity", id(value))
        self.identities.append(value)
        if isinstance(value, type):
            for owner in value.__mro__:
                if owner.__module__.partition(".")[0] not in _LIBRARIES:
                    self._visit_class(f"{path}/{owner.__qualname__}", owner)

    def _visit_class(self, path, owner):
        """What programs use of a user's class: attributes, globals its methods name."""
        for name, value in sorted(vars(owner).items()):
            function = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if isinstance(value, (*_PLAIN, tuple)) and not name.startswith("__"):
                self.visit(f"{path}/{name}", value)
            elif isinstance(function, types.FunctionType):
                for outer, outer_value in _outer_variables(function).items():
                    if isinstance(outer_value, (*_PLAIN, tuple)):
                        self.visit(f"{path}/{name}/{outer}", outer_value)


def _outer_variables(function):
    """Dictionary of the global and enclosing variables that a function names."""
    try:
        outer = inspect.getclosurevars(function)
    except ValueError:  # one is not set yet
        return {}
    return {**outer.globals, **outer.nonlocals}


def _is_own(value):
    """Whether the class of a Keras object is defined outside Keras."""
    return type(value).__module__.partition(".")[0] != "keras"


def _layer_names(config):
    """Names of the layers in a configuration, each once, in order."""
    waiting, names = [config], {}
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, dict):
            inner = part.get("config")
            if "class_name" in part and isinstance(inner, dict) and "name" in inner:
                names[inner["name"]] = None
            waiting += part.values()
        elif isinstance(part, list | tuple):
            waiting += part
    return list(names)


def _nameless(config, names):
    """A configuration without what differs between two networks of one structure."""
    if isinstance(config, dict):
        return {
            key: _nameless(value, names)
            for key, value in config.items()
            if key not in _IGNORED and not key.endswith("_initializer")
        }
    if isinstance(config, list | tuple):
        return [_nameless(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config
