"""Which classes and functions a saved agent may name."""

import inspect
import sys

import keras

from kerasrl2._private import keras_home

_HOME = keras_home()
# Packages of layers of Keras; the others load files, code or foreign frameworks.
_LAYER_PACKAGES = {
    "activations", "attention", "convolutional", "core", "merging", "normalization",
    "pooling", "regularization", "reshaping", "rnn",
}  # fmt: skip
_PREPROCESSING = {"CategoryEncoding", "Normalization", "Rescaling", "Resizing"}
_BASES = {  # what public classes of a module of Keras must derive from
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
    """The classes and functions a file may name: an allow-list.

    Those of this package, those of Keras that neither run stored code nor read files,
    and those the caller passed. What others have registered with Keras is not allowed.

    Args:
        custom_objects: Dictionary of names to classes or functions, or None.

    Attributes:
        custom_objects: The same, with the further names the file knows them by.
    """

    def __init__(self, custom_objects=None):
        self.custom_objects = dict(custom_objects or {})
        self._own = list(self.custom_objects.values())
        self._registered = keras.saving.get_custom_objects()

    def class_of(self, entry):
        """The class that a dictionary with `class_name` stands for.

        Raises:
            ValueError: The class is not allowed.
        """
        name, module, registered = self._names(entry)
        if name in _CODE and _is_of_keras(module):
            raise ValueError(_CODE_REFUSED.format(name=name, module=module))
        made = self._registered.get(registered)  # Keras prefers these, too
        if made is not None:
            fine = self._is_allowed(made) and self._agrees(made, name)
        elif (made := self._custom(registered, name)) is not None:
            fine = self._agrees(made, name)
        else:
            made = _of_keras(module, name)
            fine = made is not None
        if not fine:
            raise ValueError(_refusal("class", name, module, registered))
        return made

    def is_own(self, made):
        """Whether the caller passed this class or function."""
        return any(made is own for own in self._own)

    def check_function(self, entry):
        """Raises unless the function a dictionary stands for is allowed."""
        _, module, registered = self._names(entry)
        name = entry.get("config")
        known = isinstance(name, str) and registered in (None, name, "function")
        if known and name in self._registered:
            known = self.is_own(self._registered[name])
        elif known and name not in self.custom_objects:
            known = _is_function_of_keras(module, name)
        if not known:
            raise ValueError(_refusal("function", name, module, registered))

    def check_string(self, text):
        """Raises if Keras would take a string for something somebody registered."""
        made = self._registered.get(text)
        if made is not None and not self._is_allowed(made):
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
        if module == "":  # Keras would read it as its older format
            raise ValueError(_refusal("class", name, "no module", registered))
        return name, module, registered

    def _custom(self, registered, name):
        made = self.custom_objects.get(registered) or self.custom_objects.get(name)
        if made is not None and registered is not None:
            self.custom_objects[registered] = made
        return made

    def _agrees(self, made, name):
        """Keras goes by one name here and by another there: both must mean one."""
        return made.__name__ == name or self.custom_objects.get(name) is made

    def _is_allowed(self, made):
        """Whether a registered class is of the package or the caller's."""
        of_package = getattr(made, "__module__", "").startswith("kerasrl2.")
        return of_package or self.is_own(made)


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
        if not isinstance(name, str) or not name.isidentifier():
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
        made, base = vars(sys.modules[module]).get(name), keras.Operation
    elif module in _BASES:
        made, base = getattr(sys.modules.get(module), name, None), _BASES[module]
    else:
        return None
    if not inspect.isclass(made) or not issubclass(made, base):
        return None
    package, _, rest = made.__module__.partition(f"{_HOME}.layers.")
    if rest and package == "":
        fine = rest.split(".")[0] in _LAYER_PACKAGES or name in _PREPROCESSING
        return made if fine else None
    of_layers = issubclass(made, keras.layers.Layer)
    fine = not of_layers or made.__module__.startswith(f"{_HOME}.models.")
    return made if fine and made.__module__.startswith(f"{_HOME}.") else None


def _is_function_of_keras(module, name):
    """Whether it is an activation, a loss or a metric; Keras finds it by its name."""
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
