"""Legal actions: what is not legal has probability 0 and gets no gradient."""

import kerasrl2._startup  # noqa: F401

import tensorflow as tf

from kerasrl2.distributions.sampling import shape_of

# Finite: a row in which nothing is legal, as after the end of an episode, makes no NaN.
ILLEGAL = -1e25


def mask_parameters(parameters, legal):
    """Logits, or action values, of which those of illegal actions are very low.

    Probabilities of illegal actions are exactly 0, entropy, divergences and ratios are
    over the legal ones, and the largest value is a legal one's.

    Args:
        parameters: `[..., P]` float. Receives a gradient where actions are legal.
        legal: `[..., P]` bool, or 0 and 1.

    Returns:
        `[..., P]` of the same dtype.

    Example:
    >>> logits = mask_parameters([[100.0, 100.0, 100.0]], [[1, 0, 1]])
    >>> tf.nn.softmax(logits).numpy().tolist()
    [[0.5, 0.0, 0.5]]
    """
    parameters = tf.convert_to_tensor(parameters)
    legal = tf.cast(legal, tf.bool)
    if not parameters.shape.is_compatible_with(legal.shape):
        raise ValueError(
            f"Expected a mask of the shape of the parameters, {parameters.shape}. "
            f"Received: {legal.shape}"
        )
    return tf.where(legal, parameters, tf.constant(ILLEGAL, parameters.dtype))


def random_legal(legal, draw):
    """Uniformly random legal actions.

    Args:
        legal: `[..., A]` bool.
        draw: `[...]` float in [0, 1).

    Returns:
        `[...]` int32; `A` where nothing is legal.

    Example:
    >>> random_legal([[False, True, True]], [0.7]).numpy().tolist()
    [2]
    """
    draw = tf.convert_to_tensor(draw)
    count = tf.cumsum(tf.cast(legal, tf.int32), axis=-1)
    number = count[..., -1]
    # The draw is below 1, but its product with the number may round to the number.
    chosen = tf.minimum(
        tf.cast(draw * tf.cast(number, draw.dtype), tf.int32), number - 1
    )
    return tf.reduce_sum(tf.cast(count <= chosen[..., None], tf.int32), axis=-1)


def is_legal(action, legal):
    """`[...]` bool, whether actions `[...]` are legal by `[..., A]`."""
    actions = tf.range(shape_of(legal)[-1])
    return tf.reduce_any(legal & tf.equal(action[..., None], actions), axis=-1)
