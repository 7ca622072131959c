"""All uses of private interfaces of TensorFlow and Keras in the package.

Each private name is looked up when it is used. Where it is missing or takes other
arguments, public functions give the same results, only slower.
"""

import functools
import inspect

import keras
import tensorflow as tf

_GONE = (ImportError, AttributeError, TypeError)


class PrivateInterfaceError(RuntimeError):
    """The call needs a private interface that this TensorFlow or Keras lacks."""


# Keras


def layers_of(network):
    """All layers of a Keras layer or model, itself and nested ones included, each once.

    Args:
        network: `keras.Layer` or `keras.Model`. Anything else has no layers.

    Returns:
        List of `keras.Layer`, `network` first, without `InputLayer`s.

    Example:
    >>> import keras
    >>> dense = keras.layers.Dense(2, name="inner")
    >>> network = keras.Sequential([dense, dense], name="outer")
    >>> [layer.name for layer in layers_of(network)]
    ['outer', 'inner']
    """
    if not isinstance(network, keras.layers.Layer):
        return []
    try:
        layers = list(network._flatten_layers())
    except _GONE:
        layers = list(_walk(network))
    layers = {id(layer): layer for layer in layers}.values()
    return [x for x in layers if not isinstance(x, keras.layers.InputLayer)]


def _walk(network):
    """Yields layers depth first, in the order of Keras: last sublayer first."""
    yield network
    seen, waiting = set(), _children(network)
    while waiting:
        layer = waiting.pop(0)
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer
            waiting = [*reversed(_children(layer)), *waiting]


def _children(layer):
    """The layers in a model's `layers` and in a layer's attributes."""
    children = list(layer.layers) if isinstance(layer, keras.Model) else []
    waiting = [
        value for name, value in vars(layer).items() if name not in _own_attributes()
    ]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, keras.layers.Layer):
            children.append(value)
        elif isinstance(value, dict):
            waiting = [*value.values(), *waiting]
        elif isinstance(value, list | tuple | set):
            waiting = [*value, *waiting]
    return list({id(x): x for x in children}.values())


@functools.cache
def _own_attributes():
    """Attributes that every layer or model has, which hold no sublayers."""
    bare = keras.layers.Layer(name="bare"), keras.Sequential(name="bare")
    for layer in bare:
        # A sublayer also adds TensorFlow's attributes for tracking it in checkpoints.
        layer.part = keras.layers.Layer(name="part")
    return {name for layer in bare for name in vars(layer)} - {"part"}


def is_bookkeeping(name):
    """Whether Keras keeps notes of its own in an attribute of that name.

    It sets some of them, `built` among them, whenever it calls a layer.
    """
    return name == "built" or (name.startswith("_") and name in _own_attributes())


def keras_home():
    """Name of the package of Keras' classes, as it is written in saved files."""
    module = keras.layers.Layer.__module__
    home = module.removesuffix(".layers.layer")
    return home if home != module else "keras.src"


def trained_by(optimizer):
    """List of the Keras variables an optimizer was built for; None if unknown."""
    known = getattr(optimizer, "_trainable_variables", None)
    return list(known) if isinstance(known, list | tuple) else None


def given_rate(optimizer):
    """What an optimizer keeps as its learning rate; None if unknown.

    A variable where it was made with a number, else the schedule or function.
    """
    return getattr(optimizer, "_learning_rate", None)


def producer_of(tensor):
    """The layer or operation whose output a symbolic Keras tensor is; None if unknown.

    Args:
        tensor: `keras.KerasTensor`, such as those of `model.outputs`.
    """
    return getattr(getattr(tensor, "_keras_history", None), "operation", None)


def is_used(network, tensor):
    """Whether an operation of a functional model takes an input; True if unknown.

    Args:
        network: Functional `keras.Model`.
        tensor: One of `network.inputs`.
    """
    if any(tensor is output for output in network.outputs):
        return True
    nodes = getattr(producer_of(tensor), "_outbound_nodes", None)
    operations = getattr(network, "operations", None)
    if nodes is None or operations is None:
        return True
    known = {id(operation) for operation in operations}
    return any(id(node.operation) in known for node in nodes)


# Programs


def call_concrete(function, tensors, captured=None):
    """Calls a concrete function with tensors that are known to fit its signature.

    Skips TensorFlow's matching, a third of the time to act with a small network.

    Args:
        function: `ConcreteFunction`.
        tensors: The tensors among its arguments in the order of `tf.nest.flatten`,
            with the shapes and dtypes of `function.structured_input_signature`. The
            other arguments are those it was traced with.
        captured: None, or a list of tensors that replace `function.captured_inputs`,
            with the same dtypes in the same order (handles of variables, for instance).

    Returns:
        What the function returns.

    Raises:
        PrivateInterfaceError: `captured` is given, but this TensorFlow cannot replace
            captured tensors (see `takes_captured`): trace another function.

    Example:
    >>> one = tf.Variable(1.0)
    >>> spec = tf.TensorSpec([], tf.float32)
    >>> add = tf.function(lambda x: x + one).get_concrete_function(spec)
    >>> float(call_concrete(add, [tf.constant(2.0)]))
    3.0
    """
    flat = _flat_call(function)
    if flat is not None:
        if captured is None:
            captured = function.captured_inputs
        return flat(function, list(tensors), captured)
    if captured is not None:
        raise PrivateInterfaceError(
            "Expected a TensorFlow that runs a function on other captured tensors. "
            f"Received: version {tf.__version__}"
        )
    given = iter(tensors)
    args, kwargs = tf.nest.map_structure(
        lambda leaf: next(given) if isinstance(leaf, tf.TypeSpec) else leaf,
        function.structured_input_signature,
    )
    return function(*args, **kwargs)


def takes_captured(function):
    """Whether `call_concrete` takes `captured` for this concrete function."""
    return _flat_call(function) is not None


def _flat_call(function):
    """The method that takes tensors and captured tensors as lists, or None."""
    method = getattr(type(function), "_call_flat", None)
    return method if _takes_two(method) else None


@functools.cache
def _takes_two(method):
    """Whether a function can be called with `self` and two arguments."""
    try:
        inspect.signature(method).bind("self", [], [])
    except (TypeError, ValueError):  # missing, or other arguments; native code
        return False
    return True


# XLA


def in_xla_context():
    """Whether the graph that is being built will be compiled by XLA.

    Where `tells_xla_context()` is False it is False everywhere.
    """
    if tf.executing_eagerly():
        return False
    try:
        return _ask_tensorflow()
    except _GONE:
        return tells_xla_context() and not _lowers_conditions()


def tells_xla_context():
    """Whether `in_xla_context` can tell graphs for XLA from others."""
    try:
        with tf.Graph().as_default():
            return not _ask_tensorflow()
    except _GONE:
        return _lowering_is_reliable()


def _ask_tensorflow():
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    return GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def _lowers_conditions():
    """Whether a `tf.cond` in a function within this graph will be lowered.

    TensorFlow lowers it to switch and merge operations except where XLA will compile,
    and says so in an attribute of the operation. The function is traced and dropped: it
    adds nothing to the graph.
    """

    def condition():
        return tf.cond(tf.ones([], tf.bool), lambda: tf.ones([]), lambda: tf.zeros([]))

    graph = tf.function(condition, autograph=False).get_concrete_function().graph
    for operation in graph.get_operations():
        if operation.type in ("If", "StatelessIf"):
            try:
                return operation.get_attr("_lower_using_switch_merge")
            except ValueError:  # it has no such attribute
                return False
    return False


@functools.cache
def _lowering_is_reliable():
    """Whether `_lowers_conditions` gives the known answers with and without XLA."""
    seen = []
    with tf.Graph().as_default():  # not in the graph that is being built
        for xla in (False, True):
            function = tf.function(
                lambda: seen.append(_lowers_conditions()),
                autograph=False,
                jit_compile=xla,
            )
            function.get_concrete_function()
    return seen == [True, False]


def call_stablehlo(tensors, module, outputs):
    """Calls a StableHLO program inside a `tf.function` that XLA compiles for the CPU.

    Args:
        tensors: List of tensors, the program's arguments.
        module: String, the program's text, whose `@main` takes and returns them.
        outputs: List of one or more `tf.TensorSpec` with static shapes, of its results.

    Returns:
        List of tensors.

    Raises:
        ValueError: TensorFlow has no such operation, or it takes other attributes.
    """
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    try:
        from tensorflow.compiler.tf2xla.python import xla

        return list(
            xla.call_module(
                tensors,
                version=_VERSION,
                module=module,
                Tout=[spec.dtype for spec in outputs],
                Sout=[spec.shape for spec in outputs],
                platforms=_PLATFORMS,
            )
        )
    except _GONE:
        return _imported_call(tensors, module, outputs)


_VERSION, _PLATFORMS = 9, ["CPU"]  # attributes of the operation XlaCallModule


def _imported_call(tensors, module, outputs):
    """The same operation, imported from a graph that holds nothing else."""
    names = [f"input{i}" for i in range(len(tensors))]
    definition = tf.compat.v1.GraphDef()
    node = definition.node.add(op="XlaCallModule", name="call", input=names)
    node.attr["version"].i = _VERSION
    node.attr["module"].s = module.encode()
    node.attr["Tin"].list.type.extend(x.dtype.as_datatype_enum for x in tensors)
    node.attr["Tout"].list.type.extend(x.dtype.as_datatype_enum for x in outputs)
    node.attr["Sout"].list.shape.extend(x.shape.as_proto() for x in outputs)
    node.attr["platforms"].list.s.extend(name.encode() for name in _PLATFORMS)
    return tf.graph_util.import_graph_def(
        definition,
        input_map=dict(zip(names, tensors, strict=True)),
        return_elements=[f"call:{i}" for i in range(len(outputs))],
        name="",
    )
