"""Checks of a saved agent's configuration, before objects are made from it."""

import json
import math

import keras

from kerasrl2._private import layers_of
from kerasrl2.agents._allowed import AllowedIfPassed, code_in
from kerasrl2.agents._archive import JSON_DEPTH

FORMAT = 2  # raised where older versions would misread a file, or keywords are new
LARGEST_SIZE = 2**24  # of a layer; its weights are also compared with the file's
MOST_PIECES = 2**12
_SIZES = dict.fromkeys([
    "batch_shape", "cropping", "depth", "depth_multiplier", "dilation_rate", "filters",
    "groups", "head_dim", "height", "input_dim", "input_shape", "k", "kernel_size",
    "key_dim", "lora_rank", "n", "newshape", "num", "num_actions", "num_atoms",
    "num_classes", "num_cosines", "num_features", "num_heads", "num_key_value_heads",
    "num_quantiles", "num_query_heads", "num_samples", "num_tokens", "output_dim",
    "output_padding", "output_shape", "output_size", "pad_width", "padding",
    "pool_size", "rank", "repeats", "shape", "shapes_dict", "size", "strides",
    "target_shape", "units", "value_dim", "width",
], LARGEST_SIZE)  # fmt: skip
_SIZES |= {"indices_or_sections": MOST_PIECES, "num_thresholds": MOST_PIECES}
_ARRAYS = {"__numpy__", "__tensor__"}
_ARRAY_TYPES = {
    "bool", "bfloat16", "float16", "float32", "float64", "int8", "int16", "int32",
    "int64", "uint8", "uint16", "uint32", "uint64",
}  # fmt: skip
_VALUES = {"__keras_tensor__", "__ellipsis__", "__slice__", *_ARRAYS}


def check_loadable(agent):
    """Raises `ValueError` where `load_agent` would refuse what `save` writes."""
    found = [found for layer in layers_of(agent) if (found := code_in(layer))]
    try:
        if found:
            raise ValueError(
                f"expected no code in the file. Received: {found[0]}. Write it as a "
                "subclass of `keras.layers.Layer`, or a function with a name."
            )
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(agent)))
        check_config(config, AllowedIfPassed())
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"Expected an agent that `load_agent` can read again. Received: "
            f"{type(agent).__name__} {agent.name!r}, of which it would say: "
            f"{reason[:500]}"
        ) from error


def check_format(config):
    """Raises `ValueError` on the configuration of a newer kerasrl2."""
    written = _about(config).get("format", 0)
    if not isinstance(written, int) or written > FORMAT:
        raise ValueError(
            f"expected an agent of format {FORMAT} or older. Received: format "
            f"{written!r:.20}, written by a newer kerasrl2. Install that version."
        )


def check_class(config, made):
    """Raises `ValueError` where another class's file goes by the name of this one.

    Args:
        config: Dictionary, checked.
        made: The agent's class by the names in it.
    """
    about, inner = _about(config), config.get("config")
    saved_as = about.get("saved_as", made.__name__)
    same = saved_as == made.__name__
    rates = (n for n in made.hyperparameters() if n.endswith("learning_rate"))
    missing = {*made.hyperparameters()} - {*(inner or ()), *rates}
    own = made.__module__.startswith("kerasrl2.") and about.get("format") == FORMAT
    if same and own and missing:
        saved_as = f"another class, without {', '.join(sorted(missing)[:4])}"
    if saved_as != made.__name__:
        raise ValueError(
            f"expected the configuration of a {made.__name__}. Received: that of "
            f"{saved_as!s:.100}, under the name {made.__name__}. The file was changed: "
            "an agent of one algorithm is none of another. Load it as what it is, and "
            f"give its network to `{made.__name__}.for_env`."
        )


def _about(config):
    about = config.get("build_config")
    return about if isinstance(about, dict) else {}


def check_config(config, allowed):
    """Raises unless a configuration names only allowed classes and bounded sizes.

    Checks every dictionary, list, string and number in it, whether Keras would use it
    or not.

    Args:
        config: Dictionary, as parsed from JSON.
        allowed: `Allowed`.

    Returns:
        The class of the outermost object.

    Raises:
        ValueError: Another class is named, or something is nested too deeply or too
            large.
    """
    if "class_name" not in config:
        raise ValueError(
            "expected a configuration with a class name. Received: one without. Save "
            "the agent with `agent.save`."
        )
    waiting = [(config, "", 0)]
    while waiting:
        value, key, depth = waiting.pop()
        if depth > JSON_DEPTH:
            raise ValueError(
                f"expected a configuration nested at most {JSON_DEPTH} levels deep. "
                "Received: a deeper one. The file is forged, or its network too deep."
            )
        if isinstance(value, dict):
            if "class_name" in value:
                _check_entry(value, allowed)
            if "inbound_nodes" in value:
                _check_nodes(value["inbound_nodes"])
            waiting += [(item, name, depth + 1) for name, item in value.items()]
        elif isinstance(value, list):
            key = key if _SIZES.get(key) == LARGEST_SIZE else ""  # else positions
            waiting += [(item, key, depth + 1) for item in value]
        elif isinstance(value, str):
            allowed.check_string(value)
        elif isinstance(value, int | float):
            _check_number(value, key)
    return allowed.class_of(config)


def _check_entry(entry, allowed):
    """Checks a dictionary that describes an object."""
    name = entry["class_name"]
    if name == "function":
        allowed.check_function(entry)
    elif isinstance(name, str) and name in _ARRAYS:
        inner = entry.get("config")
        dtype = inner.get("dtype") if isinstance(inner, dict) else None
        if dtype not in _ARRAY_TYPES:
            raise ValueError(
                f"expected an array of numbers. Received: dtype {dtype!r:.60}. The "
                "file is damaged or forged."
            )
    elif not (isinstance(name, str) and name in _VALUES):
        cls, inner = allowed.class_of(entry), entry.get("config")
        fixed = isinstance(inner, dict) and inner.get("mean") is not None
        if cls is keras.layers.Normalization and fixed and not allowed.is_own(cls):
            raise ValueError(
                "expected a `Normalization` that was adapted: with a fixed mean it "
                "allocates whatever shape is declared. Received: a fixed mean. If you "
                "trust the file, pass it as `custom_objects`."
            )


def _check_nodes(nodes):
    """Raises unless each call in a network is on symbolic tensors.

    Keras would execute a call on numbers at once, however large its result.
    """
    symbolic = isinstance(nodes, list) and all(
        isinstance(node, dict) and _has_tensor([node.get("args"), node.get("kwargs")])
        for node in nodes
    )
    if not symbolic:
        raise ValueError(
            "expected a network whose layers are called on its inputs. Received: a "
            "call of constants. The file is damaged or forged."
        )


def _has_tensor(arguments):
    waiting = [arguments]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict) and "class_name" not in value:
            waiting += value.values()
        elif isinstance(value, dict):
            tensor = value["class_name"] == "__keras_tensor__"
            if tensor and "config" in value:  # else Keras keeps the dictionary
                return True
    return False


def _check_number(value, key):
    count = isinstance(value, int) and not isinstance(value, bool)
    bound = _SIZES.get(key, 2**63 - 1 if count else math.inf)
    if abs(value) > bound:
        raise ValueError(
            f"expected `{key[:60]}` of at most {bound:,}. Received: {str(value)[:20]} "
            f"({len(str(value))} digits). The file is damaged or forged."
        )
