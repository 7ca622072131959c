"""What users give to a replay buffer, checked before anything is stored or read."""

import numpy as np
import tensorflow as tf

from kerasrl2._checks import agree, check_range

NOTHING, NONE_OF_ITS_OWN = -1, -2  # as indices


def map_arrays(convert, value):
    """`convert` on the leaves of dictionaries and tuples; a list is an array."""
    if isinstance(value, dict):
        return {key: map_arrays(convert, part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(map_arrays(convert, part) for part in value)
    return convert(value)


def numbers(name, value, array):
    """`value` as an array or tensor of numbers; one `ValueError` for all else.

    Args:
        name: String, the argument's, for the message.
        value: What the user gave, no nest.
        array: Function of a value, of the back end.
    """
    try:
        result = array(value)
        kind = tf.as_dtype(result.dtype)
    except (ValueError, TypeError, OverflowError, tf.errors.OpError) as error:
        raise ValueError(
            f"Expected `{name}` as an array of numbers. Received: {value!r:.200}"
        ) from error
    if not (kind.is_floating or kind.is_integer or kind.is_bool):
        raise ValueError(
            f"Expected `{name}` as an array of numbers. Received: {value!r:.200}, of "
            f"dtype {kind.name}"
        )
    return result


def rows(name, value, specs, num_envs, array):
    """Leaves `[N, ...]` of a nest, checked; of stacks of frames the newest."""
    try:
        tf.nest.assert_same_structure(specs, value)
    except (ValueError, TypeError) as error:
        expected, received = (tf.nest.map_structure(_brief, x) for x in (specs, value))
        raise ValueError(
            f"Expected `{name}` structured as {expected}. Received: {received}"
        ) from error
    found = []
    for spec, leaf in zip(tf.nest.flatten(specs), tf.nest.flatten(value), strict=True):
        shape, kind = tuple(leaf.shape), tf.as_dtype(leaf.dtype)
        lossy = kind.is_floating and not tf.as_dtype(spec.dtype).is_floating
        whole, newest = (num_envs, *spec.shape), (num_envs, *spec.stored)
        if shape not in (whole, newest) or lossy:
            or_frames = f" (or single frames {newest})" if spec.stack > 1 else ""
            raise ValueError(
                f"Expected `{name}` of shape {whole}{or_frames} and dtype "
                f"{np.dtype(spec.dtype).name}. Received: shape {shape}, dtype "
                f"{kind.name}"
            )
        if shape != newest:
            leaf = leaf[..., -spec.stored[-1] :]
        found.append(array(leaf, spec.dtype))
    return found


def column(name, value, num_envs, dtype, array):
    """`[N]` of a dtype, checked."""
    with np.errstate(over="ignore"):  # infinite then, which is for others to refuse
        plain = not any(map(tf.is_tensor, tf.nest.flatten(value)))
        value = array(numbers(name, value, np.asarray if plain else array), dtype)
    if tuple(value.shape) != (num_envs,):
        raise ValueError(
            f"Expected `{name}` of shape {(num_envs,)}. "
            f"Received: shape {tuple(value.shape)}"
        )
    return value


def refuse_rewards(reward, valid):
    """Raises outside of graphs if a reward that counts is NaN or infinite.

    Args:
        reward: `[...]` float32.
        valid: `[...]` bool of the same shape, or None.
    """
    known = tf.get_static_value(reward)
    if known is None:
        return
    mask = np.ones_like(known, bool) if valid is None else tf.get_static_value(valid)
    if mask is None or mask.shape != known.shape:  # which is for others to refuse
        return
    if np.any(~np.isfinite(known) & mask.astype(bool)):
        raise ValueError(
            "Expected rewards that are finite in float32. "
            f"Received: reward={known.tolist()}"
        )


def indices(value, array):
    """`[...]` int64; a fraction is `NONE_OF_ITS_OWN`, outside of graphs an error."""
    given = numbers("index", value, array)
    if not tf.as_dtype(given.dtype).is_floating:
        return array(given, np.int64)
    if tuple(given.shape) == (0,):  # `[]` is a list of floats
        return array(given, np.int64)
    whole = given == given // 1
    known = tf.get_static_value(whole)
    if known is None:
        return tf.where(whole, tf.cast(given, tf.int64), NONE_OF_ITS_OWN)
    if not known.all():
        raise ValueError(
            f"Expected `index` of whole numbers. Received: {np.asarray(given).tolist()}"
        )
    return array(given, np.int64)


def refuse_indices(index, fine, what):
    """Raises outside of graphs unless all indices are `fine` or -1.

    Args:
        index: `[B]` int64.
        fine: `[B]` bool.
        what: String, which ones are.
    """
    known, fine = tf.get_static_value(index), tf.get_static_value(fine)
    if known is None or fine is None:
        return
    bad = ~fine & (known != NOTHING)
    if bad.any():
        raise ValueError(
            f"Expected indices {what}. Received: {known[bad][:10].tolist()} among "
            f"{bad.size}"
        )


def check_pairs(index, name, value):
    """Raises unless there are as many values `[B]` as indices `[B]`."""
    shapes = tuple(index.shape), tuple(value.shape)
    if not agree(*shapes, (None,)):
        raise ValueError(
            f"Expected `index` [B] and `{name}` [B]. Received: shapes {shapes[0]} and "
            f"{shapes[1]}"
        )


def _brief(leaf):
    return str(leaf) if not hasattr(leaf, "dtype") else f"array{list(leaf.shape)}"


def powers_of(gamma, n_step):
    """`gamma**0`, ..., `gamma**n_step` as float32.

    Multiplied up one by one in float64: `pow` rounds differently in NumPy,
    TensorFlow and XLA, a product does not. (Graphs round powers below 1e-38 to 0.)
    An array where the value of gamma is known; inside a graph a tensor, whose range
    is not checked.
    """
    if tf.is_tensor(gamma):
        dtype = tf.as_dtype(gamma.dtype)
        if tuple(gamma.shape) != () or dtype not in (tf.float64, tf.float32):
            raise ValueError(
                "Expected `gamma` as a number or a scalar tensor of float64 or "
                f"float32. Received: shape {tuple(gamma.shape)}, dtype {dtype.name}"
            )
        gamma = tf.convert_to_tensor(gamma)
        if not tf.executing_eagerly():
            gamma = tf.cast(gamma, tf.float64)
            powers = [tf.ones_like(gamma)]
            for _ in range(n_step):
                powers.append(powers[-1] * gamma)
            return tf.cast(tf.stack(powers), tf.float32)
        gamma = float(gamma)
    check_range("gamma", gamma, 0.0, 1.0)
    factors = np.full([n_step + 1], gamma, np.float64)
    factors[0] = 1.0
    return np.cumprod(factors).astype(np.float32)
