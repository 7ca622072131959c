"""The classes and functions that a saved agent may name."""

import inspect
import sys

import keras

from kerasrl2._private import keras_home

_HOME = keras_home()
# Packages of Keras layers; the others load files, code or other frameworks.
_LAYER_PACKAGES = {
    "activations", "attention", "convolutional", "core", "merging", "normalization",
    "pooling", "regularization", "reshaping", "rnn",
}  # fmt: skip
_PREPROCESSING = {"CategoryEncoding", "Normalization", "Rescaling", "Resizing"}
_BASES = {  # modules of Keras, and the base class a public class must have
    "keras": (keras.Model, keras.DTypePolicy),
    "keras.constraints": keras.constraints.Constraint,
    "keras.dtype_policies": keras.DTypePolicy,
    "keras.initializers": keras.initializers.Initializer,
    "keras.layers": keras.layers.Layer,
    "keras.losses": keras.losses.Loss,
    "keras.metrics": keras.metrics.Metric,
    "keras.models": keras.Model,
    "keras.optimizers": keras.optimizers.Optimizer,
    "keras.optimizers.schedules": keras.optimizers.schedules.LearningRateSchedule,
    "keras.random": keras.random.SeedGenerator,
    "keras.regularizers": keras.regularizers.Regularizer,
    f"{_HOME}.models.functional": keras.Model,
}
_OPERATIONS = {  # of functional networks
    f"{_HOME}.ops.{name}" for name in ("core", "image", "linalg", "math", "nn", "numpy")
}
_EXCLUDED = {  # they run functions, make one tensor per element, or allocate in NumPy
    "ArraySplit", "AssociativeScan", "Cond", "Dsplit", "ForiLoop", "Hsplit", "Lambda",
    "Map", "STFT", "STFTInitializer", "Scan", "Switch", "Unstack", "VectorizedMap",
    "Vsplit", "WhileLoop",
}  # fmt: skip
_CODE = {"Lambda", "__lambda__"}
_CODE_REFUSED = (
    "expected classes and functions of kerasrl2, of Keras if they hold no code, or "
    "from `custom_objects`. Received: the class {name!r} of {module!r}, which holds "
    "code in the file: it is never loaded. Write it as a subclass of "
    "`keras.layers.Layer` (a learning rate as a `LearningRateSchedule`), and save the "
    "agent again."
)
_FUNCTION_MODULES = (keras.activations, keras.losses, keras.metrics)
_NOT_FUNCTIONS = {"deserialize", "get", "serialize"}
_OPS_AS_ACTIVATIONS = {"abs", "cos", "exp", "sin", "square", "tanh"}


def code_in(layer):
    """What of a layer has no file but one with code in it, a string; None if nothing.

    A `Lambda`, and a lambda as activation, initialiser or regularizer in a layer of
    Keras: it has no name by which it could be passed.
    """
    if isinstance(layer, keras.layers.Lambda):
        return f"the `Lambda` {layer.name!r}"
    if type(layer).__module__.partition(".")[0] != "keras":
        return None
    for name, value in vars(layer).items():
        if getattr(value, "__name__", None) == "<lambda>" and not name.startswith("_"):
            return f"the lambda `{name}` of the layer {layer.name!r}"
    return None


class Allowed:
    """Allow-list of the classes and functions that a file may name.

    Allowed are those of this package, those of Keras that neither run stored code nor
    read files, and those the caller passed; not what others registered with Keras.

    Args:
        custom_objects: Dictionary of names to classes or functions, or None.

    Attributes:
        custom_objects: The same, with the further names that the file uses for them.
    """

    def __init__(self, custom_objects=None):
        self.custom_objects = dict(custom_objects or {})
        self._own = list(self.custom_objects.values())
        self._registered = keras.saving.get_custom_objects()

    def class_of(self, entry):
        """The class that a dictionary with `class_name` names.

        Raises:
            ValueError: The class is not allowed.
        """
        name, module, registered = self._names(entry)
        if name in _CODE and _is_of_keras(module):
            raise ValueError(_CODE_REFUSED.format(name=name, module=module))
        cls = self._registered.get(registered)  # Keras prefers these, too
        if cls is not None:
            allowed = self._is_allowed(cls) and self._agrees(cls, name)
        elif (cls := self._custom(registered, name)) is not None:
            allowed = self._agrees(cls, name)
        else:
            cls = _of_keras(module, name)
            allowed = cls is not None
        if not allowed:
            raise ValueError(_refusal("class", name, module, registered))
        return cls

    def is_own(self, value):
        """Whether the caller passed this class or function."""
        return any(value is own for own in self._own)

    def check_function(self, entry):
        """Raises unless the function that a dictionary names is allowed."""
        _, module, registered = self._names(entry)
        name = entry.get("config")
        allowed = isinstance(name, str) and registered in (None, name, "function")
        if allowed and name in self._registered:
            allowed = self.is_own(self._registered[name])
        elif allowed and name not in self.custom_objects:
            allowed = _is_function_of_keras(module, name)
        if not allowed:
            raise ValueError(_refusal("function", name, module, registered))

    def check_string(self, text):
        """Raises if Keras would take a string for an object that is not allowed."""
        value = self._registered.get(text)
        if value is not None and not self._is_allowed(value):
            raise ValueError(_refusal("object", text, None, text))

    @staticmethod
    def _names(entry):
        name, module = entry["class_name"], entry.get("module", "")
        registered = entry.get("registered_name", name)
        strings = isinstance(name, str) and isinstance(module, str | None)
        if not strings or not isinstance(registered, str | None):
            raise ValueError(
                "expected names of classes as strings. Received: "
                f"{(name, module, registered)!r:.100}. The file is damaged or forged."
            )
        if module == "":  # Keras would read the entry in its older format
            raise ValueError(_refusal("class", name, "no module", registered))
        return name, module, registered

    def _custom(self, registered, name):
        cls = self.custom_objects.get(registered) or self.custom_objects.get(name)
        if cls is not None and registered is not None:
            self.custom_objects[registered] = cls
        return cls

    def _agrees(self, cls, name):
        """Whether both names in an entry mean one class: Keras uses either of them."""
        return cls.__name__ == name or self.custom_objects.get(name) is cls

    def _is_allowed(self, value):
        """Whether a registered object is of this package or passed by the caller."""
        of_package = getattr(value, "__module__", "").startswith("kerasrl2.")
        return of_package or self.is_own(value)


class AllowedIfPassed(Allowed):
    """What a caller of `load_agent` can allow: all but code in the file itself."""

    def class_of(self, entry):
        name, module, registered = self._names(entry)
        if name in self._registered or registered in self._registered:
            return self._registered.get(registered, self._registered.get(name))
        if _is_of_keras(module):
            return super().class_of(entry)
        return object

    def check_function(self, entry):
        _, module, registered = self._names(entry)
        name = entry.get("config")
        known = isinstance(name, str) and name in self._registered
        if not known and not (isinstance(name, str) and name.isidentifier()):
            raise ValueError(_refusal("function", name, module, registered))

    def check_string(self, text):
        """Any name may be passed."""

    def is_own(self, made):
        return True


def _is_of_keras(module):
    """Whether Keras would look for a class of that module in itself."""
    return module is None or module.partition(".")[0] in ("keras", "builtins")


def _of_keras(module, name):
    """An allowed class of Keras, or None."""
    if name in _EXCLUDED or not name.isidentifier():
        return None
    if module in _OPERATIONS and module in sys.modules:
        cls, base = vars(sys.modules[module]).get(name), keras.Operation
    elif module in _BASES:
        cls, base = getattr(sys.modules.get(module), name, None), _BASES[module]
    else:
        return None
    if not inspect.isclass(cls) or not issubclass(cls, base):
        return None
    package, _, rest = cls.__module__.partition(f"{_HOME}.layers.")
    if rest and package == "":
        allowed = rest.split(".")[0] in _LAYER_PACKAGES or name in _PREPROCESSING
        return cls if allowed else None
    is_layer = issubclass(cls, keras.layers.Layer)
    allowed = not is_layer or cls.__module__.startswith(f"{_HOME}.models.")
    return cls if allowed and cls.__module__.startswith(f"{_HOME}.") else None


def _is_function_of_keras(module, name):
    """Whether a name is an activation, loss or metric, as Keras looks it up."""
    if name.startswith("_") or name in _NOT_FUNCTIONS:
        return False
    if module in ("keras.ops", "keras.ops.nn"):
        return hasattr(keras.ops.nn, name) or name in _OPS_AS_ACTIVATIONS
    homes = [
        home for home in _FUNCTION_MODULES if module in ("builtins", _public(home))
    ]
    return any(inspect.isfunction(getattr(home, name, None)) for home in homes)


def _public(module):
    return f"keras.{module.__name__.rpartition('.')[2]}"


def _refusal(kind, name, module, registered):
    shown = f"{name!r:.60}" if isinstance(name, str) else f"a {type(name).__name__}"
    registered = "" if registered in (None, name) else f" ({registered!r:.60})"
    return (
        "expected classes and functions of kerasrl2, of Keras if they hold no code, or "
        f"from `custom_objects`. Received: the {kind} {shown}{registered} of "
        f"{module!r:.60}. If it is yours, pass `custom_objects={{{shown}: ...}}`."
    )
