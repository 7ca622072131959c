"""Layers that scale observations and rewards by what has been seen so far."""

import keras
from keras import ops

from kerasrl2._checks import check_range, check_same_shape
from kerasrl2._numbers import Number
from kerasrl2.statistics import masked_moments, merge_moments


@keras.saving.register_keras_serializable(package="kerasrl2")
class RunningNormalization(keras.layers.Layer):
    """Standardises observations with the mean and variance of all it was shown.

    `clip((x - mean) / sqrt(variance + epsilon), -clip, clip)`. Calling never changes
    the statistics: `update` does, so that acting, learning and evaluating on one
    observation agree, and only real transitions count. The moments, held in float32,
    are weights that are saved but not trained. The first batch is taken as it is;
    before it mean and variance are 0 and 1. Integer observations (images, indices)
    pass unchanged and are not counted, unless `integers` says so.

    Args:
        epsilon: Float > 0, added to the variance, in squared units of the observation.
        clip: Float > 0, the largest output, in standard deviations.
        integers: Boolean, whether integers are standardised as well.
        **kwargs: Base layer arguments.

    Input shape: `[B, *features]`; each feature has statistics of its own.

    Output shape: the same.

    Example:
    >>> layer = RunningNormalization()
    >>> layer.build([None, 1])
    >>> layer.update(ops.array([[1.0], [3.0]]))
    >>> round(float(layer(ops.array([[3.0]]))[0, 0]), 3)
    1.0
    """

    def __init__(self, epsilon=1e-8, clip=10.0, integers=False, **kwargs):
        super().__init__(autocast=False, **kwargs)  # float16's maximum is 65 504
        check_range("epsilon", epsilon, 0.0, open_low=True)
        check_range("clip", clip, 0.0, open_low=True)
        self.epsilon, self.clip, self.integers = epsilon, clip, integers

    def build(self, input_shape):
        self.mean, self.variance, self.count = _add_moments(self, input_shape[1:])

    def call(self, observation):
        if self._passes(observation):
            return observation
        x = ops.cast(observation, "float32") - self.mean
        x = x / ops.sqrt(self.variance + self.epsilon)
        return ops.cast(ops.clip(x, -self.clip, self.clip), self.compute_dtype)

    def compute_output_spec(self, observation):
        dtype = observation.dtype if self._passes(observation) else self.compute_dtype
        return keras.KerasTensor(observation.shape, dtype=dtype)

    def update(self, observation, mask=None):
        """Adds observations to the statistics, unless their squares overflow.

        Args:
            observation: `[..., *features]`, for instance `[T, N, F]`.
            mask: `[...]` bool or None, False for rows that do not count.
        """
        _check_built(self)
        observation = ops.convert_to_tensor(observation)
        if self._passes(observation):
            return
        features = tuple(self.mean.shape)
        rank = len(features)
        if tuple(observation.shape)[len(observation.shape) - rank :] != features:
            raise ValueError(
                f"Expected observations that end in {features}. "
                f"Received: observation.shape={tuple(observation.shape)}"
            )
        observation = ops.cast(observation, "float32")
        _count_in(self, _moments(observation, mask, rank))

    def get_config(self):
        own = {"epsilon": self.epsilon, "clip": self.clip, "integers": self.integers}
        return {**super().get_config(), **own}

    def _passes(self, observation):
        return not self.integers and keras.backend.is_int_dtype(observation.dtype)


@keras.saving.register_keras_serializable(package="kerasrl2")
class NestedNormalization(keras.layers.Layer):
    """`RunningNormalization` of the entries of nested observations.

    Args:
        entries: Dictionary or tuple of `RunningNormalization`, `NestedNormalization`,
            and None for entries that pass unchanged.
        **kwargs: Base layer arguments.

    Input shape: Dictionary or tuple of `[B, *features]`.

    Output shape: The same.

    Example:
    >>> layer = NestedNormalization({"x": RunningNormalization(), "index": None})
    >>> layer.build({"x": [None, 1], "index": [None]})
    >>> layer.update({"x": ops.array([[1.0], [3.0]]), "index": ops.array([0, 1])})
    >>> outputs = layer({"x": ops.array([[3.0]]), "index": ops.array([7])})
    >>> round(float(outputs["x"][0, 0]), 3), int(outputs["index"][0])
    (1.0, 7)
    """

    def __init__(self, entries, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._named = isinstance(entries, dict)
        items = sorted(entries.items()) if self._named else enumerate(entries)
        self._normalizers = {key: layer for key, layer in items if layer is not None}
        self._keys = sorted(entries) if self._named else list(range(len(entries)))

    def build(self, input_shape):
        for key, layer in self._normalizers.items():
            if not layer.built:  # a file describes those within as built
                layer.build(input_shape[key])

    def call(self, observation):
        return self._mapped(lambda layer, value: layer(value), observation)

    def compute_output_spec(self, observation):
        def described(value):
            return keras.KerasTensor(value.shape, dtype=value.dtype)

        return self._mapped(
            lambda layer, value: layer.compute_output_spec(value),
            keras.tree.map_structure(described, observation),
        )

    def update(self, observation, mask=None):
        """Adds observations to the statistics, entry by entry.

        Args:
            observation: Dictionary or tuple of `[..., *features]`.
            mask: `[...]` bool or None, False for rows that do not count.
        """
        for key, layer in self._normalizers.items():
            layer.update(observation[key], mask)

    def entry(self, key):
        """The layer of an entry, or None."""
        return self._normalizers.get(key)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        found = {
            key: serialize(self._normalizers[key]) if key in self._normalizers else None
            for key in self._keys
        }
        entries = found if self._named else list(found.values())
        return {**super().get_config(), "entries": entries}

    @classmethod
    def from_config(cls, config):
        """The layer of a configuration that `get_config` made."""

        def load(entry):
            return entry and keras.saving.deserialize_keras_object(entry)

        entries = config.pop("entries")
        if isinstance(entries, dict):
            return cls({key: load(part) for key, part in entries.items()}, **config)
        return cls(tuple(load(part) for part in entries), **config)

    def _mapped(self, function, observation):
        found = {
            key: function(self._normalizers[key], observation[key])
            if key in self._normalizers
            else observation[key]
            for key in self._keys
        }
        return found if self._named else tuple(found.values())


@keras.saving.register_keras_serializable(package="kerasrl2")
class RewardScaling(keras.layers.Layer):
    """Divides rewards by the standard deviation of the running discounted return.

    Section 3 of Engstrom et al. (2020), https://arxiv.org/abs/2005.12729:
    `R_t = gamma R_{t-1} + r_t`, begun anew with every episode. No mean is subtracted:
    that would change which policy is best. The statistics are weights that are saved
    but not trained; the `R` of each environment belong to the caller. The first rollout
    is taken as it is; before it the deviation is 1.

    Args:
        gamma: Float in [0, 1], the discount per env step; may be assigned. That of an
            agent's is assigned with `agent.gamma`.
        epsilon: Float > 0, added to the variance, in squared units of return.
        clip: Float > 0, the largest scaled reward.
        **kwargs: Base layer arguments.

    Input shape: any, rewards.

    Output shape: the same, scaled rewards.

    Example:
    >>> layer = RewardScaling(gamma=0.5)
    >>> layer.build([None])
    >>> reward, ended = ops.array([[4.0], [0.0]]), ops.array([[False], [False]])
    >>> accumulator = layer.update(reward, ended, ops.zeros([1]))  # R is 4, then 2
    >>> float(accumulator[0]), round(float(layer(ops.array([3.0]))[0]), 2)
    (2.0, 3.0)
    """

    gamma = Number(0.0, 1.0)

    def __init__(self, gamma=0.99, epsilon=1e-8, clip=10.0, **kwargs):
        super().__init__(autocast=False, **kwargs)  # float16's maximum is 65 504
        check_range("epsilon", epsilon, 0.0, open_low=True)
        check_range("clip", clip, 0.0, open_low=True)
        self.gamma, self.epsilon, self.clip = gamma, epsilon, clip

    def build(self, input_shape=None):
        self.mean, self.variance, self.count = _add_moments(self, ())

    def call(self, reward):
        x = ops.cast(reward, "float32") / ops.sqrt(self.variance + self.epsilon)
        return ops.cast(ops.clip(x, -self.clip, self.clip), self.compute_dtype)

    def compute_output_spec(self, reward):
        return keras.KerasTensor(reward.shape, dtype=self.compute_dtype)

    def update(self, reward, ended, accumulator, valid=None):
        """Adds a rollout's returns to the statistics, unless their squares overflow.

        Args:
            reward: `[T, N]` float or int, unscaled.
            ended: `[T, N]` bool, `terminated | truncated`.
            accumulator: `[N]` float32, the running returns `R`; zeros at first, then
                what the last call returned.
            valid: `[T, N]` bool or None, False for rows that are no transitions.

        Returns:
            `[N]` float32, the running returns after the rollout.
        """
        _check_built(self)
        reward = ops.cast(reward, "float32")
        ended = ops.cast(ended, "bool")
        valid = ops.ones_like(ended) if valid is None else ops.cast(valid, "bool")
        accumulator = ops.cast(accumulator, "float32")
        check_same_shape(reward=reward, ended=ended, valid=valid)
        check_same_shape(accumulator=accumulator, reward_of_one_step=reward[0])

        def step(carry, row):
            reward, ended, valid = row
            total = ops.where(valid, self.gamma * carry + reward, carry)
            return ops.where(ended & valid, 0.0, total), total

        carry, totals = ops.scan(step, accumulator, (reward, ended, valid))
        _count_in(self, _moments(totals, valid, 0))
        return carry

    def get_config(self):
        own = {"gamma": self.gamma, "epsilon": self.epsilon, "clip": self.clip}
        return {**super().get_config(), **own}


def _moments(x, mask, feature_rank):
    """`Moments` of float32 numbers that are far from 0 beside their deviation, too.

    A first mean is rounded by as much as the deviation; what it misses is the mean of
    the numbers without it.
    """
    first = masked_moments(x, mask, feature_rank).mean
    rest = masked_moments(x - first, mask, feature_rank)
    return rest._replace(mean=first + rest.mean)


def _add_moments(layer, shape):
    """Float32 suffices: merging in steps does not drift (`merge_moments`)."""
    arguments = {"trainable": False, "dtype": "float32", "autocast": False}
    mean = layer.add_weight(name="mean", shape=shape, initializer="zeros", **arguments)
    variance = layer.add_weight(
        name="variance", shape=shape, initializer="ones", **arguments
    )
    count = layer.add_weight(name="count", shape=(), initializer="zeros", **arguments)
    return mean, variance, count


def _check_built(layer):
    if not layer.built:
        raise ValueError(
            f"Expected `{layer.name}` to be called or built before `update`"
        )


def _count_in(layer, batch):
    """Merges the moments of a batch, unless the squares of its numbers overflow."""
    weights = (layer.count, layer.mean, layer.variance)
    old = [ops.convert_to_tensor(weight) for weight in weights]
    new = merge_moments(*old, *batch)
    finite = ops.all(ops.isfinite(new[2]))
    for weight, before, after in zip(weights, old, new, strict=True):
        weight.assign(ops.where(finite, after, before))
