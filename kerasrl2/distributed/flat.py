"""All variables of an agent's policy as one vector, to send them in one piece."""

import tensorflow as tf

from kerasrl2._state import state_of


class FlatVariables:
    """Variables as one vector of float32 words, to the bit.

    A number of 32 bits is one word, one of 64 bits is two; smaller ones are converted,
    which loses nothing. For use inside graphs.

    Args:
        variables: List of `tf.Variable`s of static shapes.

    Attributes:
        size: Integer, words in all.
        layout: List of pairs of a shape and the name of a dtype, in order: what two
            processes must agree on.

    Example:
    >>> count, weight = tf.Variable(7, dtype=tf.int64), tf.Variable([1.5, -2.0])
    >>> flat = FlatVariables([count, weight])
    >>> vector = flat.read()
    >>> for variable in (count, weight):
    ...     _ = variable.assign(tf.zeros_like(variable))
    >>> flat.write(vector)
    >>> int(count), weight.numpy().tolist(), flat.size
    (7, [1.5, -2.0], 4)
    """

    def __init__(self, variables):
        self._variables = list(variables)
        self._words = [_words(v) * v.shape.num_elements() for v in self._variables]
        self.size = sum(self._words)
        self.layout = [(v.shape.as_list(), v.dtype.name) for v in self._variables]

    def read(self):
        """The values, `[size]` float32."""
        parts = [tf.reshape(_as_words(v.read_value()), [-1]) for v in self._variables]
        return tf.concat(parts, axis=0) if parts else tf.zeros([0])

    def write(self, vector):
        """Sets the variables to a result of `read`."""
        for variable, part in zip(
            self._variables, tf.split(vector, self._words), strict=True
        ):
            variable.assign(_from_words(part, variable))


def policy_variables(agent):
    """List of what an agent acts by: weights, statistics, numbers; target networks.

    All variables of the agent, but for env steps, the replay buffer and the moments of
    optimizers; their counts of gradient steps, which losses may read, are included. In
    the same order in every process.

    Args:
        agent: `Agent`.
    """
    optimizers = [optimizer for optimizer, _ in agent.optimizers().values()]
    counts = [optimizer.iterations.value for optimizer in optimizers]
    state = state_of(
        buffer=getattr(agent, "buffer", None), optimizers=optimizers, agent=agent
    )
    own = [v for name, v in state.variables.items() if name.startswith("agent/")]
    known = {id(v) for v in counts} | {id(agent.env_steps.value)}
    return [*(v for v in own if id(v) not in known), *counts]


def _words(variable):
    return 2 if variable.dtype.size == 8 else 1


def _as_words(value):
    if value.dtype.size < 4:
        value = tf.cast(value, tf.float32 if value.dtype.is_floating else tf.int32)
    return value if value.dtype == tf.float32 else tf.bitcast(value, tf.float32)


def _from_words(words, variable):
    dtype, shape = variable.dtype, variable.shape
    if dtype.size == 8:
        return tf.bitcast(tf.reshape(words, [*shape, 2]), dtype)
    if dtype.size == 4:
        words = words if dtype == tf.float32 else tf.bitcast(words, dtype)
        return tf.reshape(words, shape)
    words = words if dtype.is_floating else tf.bitcast(words, tf.int32)
    return tf.cast(tf.reshape(words, shape), dtype)
