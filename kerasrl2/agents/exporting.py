"""Policies for programs without kerasrl2: SavedModel, LiteRT and ONNX."""

from kerasrl2._startup import native_chatter_kept_back

import importlib
import logging
import re
import tempfile
import warnings
from pathlib import Path

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice
from kerasrl2.agents.policies import state_names

FORMATS = "saved_model", "tflite", "onnx"
NEXT = "next_"
SIGNATURE = "serving_default"  # what TensorFlow Serving calls where nothing is said


def export(agent, filepath, format="saved_model"):
    """Implements `Agent.export`.

    Args:
        agent: `Agent`.
        filepath: String or path.
        format: String, one of `FORMATS`.
    """
    check_choice("format", format, FORMATS)
    path = Path(filepath)
    _check_path(path, format)
    path.parent.mkdir(parents=True, exist_ok=True)
    if format == "saved_model":
        _save_model(agent, path)
    else:
        convert = _to_tflite if format == "tflite" else _to_onnx
        path.write_bytes(convert(agent))


def served(agent):
    """The function of an exported policy.

    Args:
        agent: `Agent`.

    Returns:
        A `tf.function` of one tensor `[B, ...]` for each entry of an observation, in
        the order of `tf.nest.flatten`, and for each part of the policy's state, to a
        dictionary of tensors, in which the names of the parts of the next state begin
        with `NEXT`: formats want no name twice.
    """
    structure, state = agent.observation_spec.nest, agent.initial_state(1)
    signature = _signature(structure)
    entries, names = len(signature), state_names(state)
    for name, leaf in zip(names, tf.nest.flatten(state), strict=True):
        signature.append(tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype, name))

    def serve(*tensors):
        observation = tf.nest.pack_sequence_as(structure, tensors[:entries])
        before = [tf.nest.pack_sequence_as(state, tensors[entries:])] if names else []
        outputs = agent.forward(observation, *before)
        action = agent.head.to_env(agent.greedy(outputs))
        after = tf.nest.flatten(outputs.policy_state) if names else []
        after = {NEXT + n: part for n, part in zip(names, after, strict=True)}
        return {"action": action, **_reasons(agent, outputs), **after}

    return tf.function(serve, input_signature=signature, autograph=False)


def first_states(agent):
    """The function of an exported policy that begins episodes.

    Args:
        agent: `Agent` whose policy remembers.

    Returns:
        A `tf.function` of the number of environments, a scalar int32, to a dictionary
        of the parts of the policy's state, by their names in the function of `served`.
    """
    names = state_names(agent.initial_state(1))

    def first(batch_size):
        # Not of `batch_size` itself, which a network need not take as a tensor.
        leaves = tf.nest.flatten(agent.initial_state(1))
        rows = [tf.repeat(leaf, batch_size, axis=0) for leaf in leaves]
        return dict(zip(names, rows, strict=True))

    signature = [tf.TensorSpec([], tf.int32, "batch_size")]
    return tf.function(first, input_signature=signature, autograph=False)


def _reasons(agent, outputs):
    """What actions are chosen from, by the names that they have outside."""
    if hasattr(agent, "action_values"):
        return {"action_values": outputs.parameters}
    named = {"parameters": outputs.parameters}
    to_chances = {"categorical": tf.nn.softmax, "bernoulli": tf.sigmoid}
    if agent.head.kind in to_chances:
        named["probabilities"] = to_chances[agent.head.kind](outputs.parameters)
    if outputs.value is not None:
        named["value"] = outputs.value
    return named


def _signature(structure):
    """List of `tf.TensorSpec`s, named `observation` or after entries of a nest."""
    leaves = keras.tree.flatten_with_path(structure)
    if not tf.nest.is_nested(structure):
        names = ["observation"]
    else:
        words = ["_".join(map(str, path)) for path, _ in leaves]
        names = [re.sub(r"\W", "_", word) for word in words]
        # A name may not begin with a digit: entries of a tuple.
        names = [f"observation_{n}" if n[0].isdigit() else n for n in names]
    return [
        tf.TensorSpec([None, *spec.shape], spec.dtype, name)
        for name, (_, spec) in zip(names, leaves, strict=True)
    ]


def _save_model(agent, path):
    function = served(agent)
    concrete = function.get_concrete_function()
    module = tf.Module()
    module.policy_variables = list(concrete.variables)
    signatures = {SIGNATURE: concrete}

    names = state_names(agent.initial_state(1))

    def serve(*tensors):
        outputs = function(*tensors)
        after = [outputs[NEXT + name] for name in names]
        return (outputs["action"], *after) if after else outputs["action"]

    module.serve = tf.function(
        serve, input_signature=function.input_signature, autograph=False
    )
    if names:
        module.initial_state = first_states(agent)
        signatures["initial_state"] = module.initial_state.get_concrete_function()
    with native_chatter_kept_back():
        tf.saved_model.save(module, str(path), signatures=signatures)


def _to_tflite(agent):
    with tempfile.TemporaryDirectory(prefix="kerasrl2-") as directory:
        model = str(Path(directory, "model"))
        _save_model(agent, Path(model))
        converter = tf.lite.TFLiteConverter.from_saved_model(
            model, signature_keys=[SIGNATURE]
        )
        content, lacks = _attempt(converter.convert)
        if lacks is None:
            return content
        # Operations that LiteRT's own set lacks, from TensorFlow's.
        more = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        converter.target_spec.supported_ops = more
        content, error = _attempt(converter.convert)
    if error is not None:
        raise _refused(agent, "TensorFlow Lite's converter", error) from error
    warnings.warn(
        f"This {type(agent).__name__} needs operations that LiteRT has not: "
        f"{_reason(lacks)} The file runs where the Select TensorFlow operators are "
        "linked in.",
        stacklevel=4,
    )
    return content


def _to_onnx(agent):
    tf2onnx, onnx = _onnx("tf2onnx"), _onnx("onnx")
    function = served(agent)

    def convert():
        model, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature
        )
        # The converter only tells of operations that it leaves as TensorFlow's, and
        # mixes up half-precision types.
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()

    content, error = _attempt(convert)
    if error is not None:
        raise _refused(agent, "tf2onnx", error) from error
    return content


def _attempt(function):
    """`(result, None)` of a converter, or `(None, error)`, without its chatter."""
    with native_chatter_kept_back():
        try:
            return function(), None
        except Exception as error:
            return None, error


def _onnx(name):
    """A package of the extra; the converter is not to tell each step of its work."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f'ONNX needs a missing package: pip install "kerasrl2[onnx]" ({error}). '
            "The other formats need none."
        ) from error
    logging.getLogger(name).setLevel(logging.CRITICAL)
    return module


def _check_path(path, format):
    suffix = "" if format == "saved_model" else f".{format}"
    if format != "saved_model" and path.suffix != suffix:
        raise ValueError(
            f"Expected a file that ends with {suffix!r} for the format {format!r}. "
            f"Received: {path}"
        )
    if format == "saved_model" and path.suffix in (".tflite", ".onnx"):
        raise ValueError(
            f"Expected a directory for the format 'saved_model'. Received: {path}. Add "
            f"format={path.suffix[1:]!r}."
        )
    if format != "saved_model" and path.is_dir():
        raise ValueError(f"Expected a file. Received: {path}, a directory.")
    if format == "saved_model" and path.exists():
        if not path.is_dir():
            raise ValueError(
                f"Expected a directory to export to. Received: {path}, a file. Choose "
                "another."
            )
        found = sorted(entry.name for entry in path.iterdir())
        if found:
            raise ValueError(
                f"Expected a new or an empty directory to export to. Received: {path}, "
                f"which holds {', '.join(found[:3])}. Choose another, or remove it."
                f"{_next(path)}"
            )


def _next(path):
    """What to choose, where a directory is a version of TensorFlow Serving's."""
    if not path.name.isdigit():
        return ""
    return f" The next version is {path.with_name(str(int(path.name) + 1))}."


def _refused(agent, converter, error):
    return ValueError(
        f"Expected a policy that {converter} can convert. Received: a "
        f"{type(agent).__name__} with {agent.network.name!r}: {_reason(error)} "
        "Export it with format='saved_model'."
    )


def _reason(error):
    """What a converter stumbled over: operations, where it names them."""
    operations = re.findall(r"'tf\.(\w+)' op|No Op registered for (\w+)", str(error))
    operations = [name for pair in operations for name in pair if name]
    if operations:
        return f"{', '.join(dict.fromkeys(operations))}."
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text[:300].rstrip('.')}."
