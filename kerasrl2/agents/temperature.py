"""The temperature of soft actor-critic agents, and how it is learned."""

import math

import tensorflow as tf

from kerasrl2._checks import check_range
from kerasrl2._numbers import FINITE, Number


class Temperature:
    """Mixin: the weight `alpha` of the policy's entropy, learned or fixed.

    `alpha` falls where the policy's entropy is above `target_entropy` and rises below
    it: its loss is `log alpha (entropy - target_entropy)`; equation (18) of Haarnoja et
    al. (2018), https://arxiv.org/abs/1812.05905, in `log alpha`.

    Args:
        temperature: Float > 0, `alpha` at the start.
        learn_temperature: Boolean, whether it changes.
        target_entropy: Float, nats, or None for what `default_entropy` says.
        temperature_optimizer: Keras optimizer, the name of one, or None for Adam.
        learning_rate: As of the other parts.
        **kwargs: What the other base classes take.
    """

    target_entropy = Number(**FINITE)

    def __init__(
        self,
        *args,
        temperature=1.0,
        learn_temperature=True,
        target_entropy=None,
        temperature_optimizer=None,
        learning_rate=3e-4,
        **kwargs,
    ):
        super().__init__(*args, learning_rate=learning_rate, **kwargs)
        check_range("temperature", temperature, 0.0, math.inf, open_low=True)
        self.learn_temperature = bool(learn_temperature)
        self.temperature_optimizer = self.optimizer_for(
            temperature_optimizer, learning_rate
        )
        self.log_temperature = self.add_weight(
            shape=(), initializer="zeros", name="log_temperature"
        )
        self.log_temperature.assign(math.log(temperature))
        if target_entropy is None:
            target_entropy = self.default_entropy()
        self.target_entropy = target_entropy

    def default_entropy(self):
        """The entropy in nats that the policy is to have, by its head."""
        raise NotImplementedError

    @property
    def temperature(self):
        """`alpha`, a float; inside a graph a tensor of the current value."""
        value = tf.exp(tf.convert_to_tensor(self.log_temperature))
        return value if tf.inside_function() else float(value)

    def optimizers(self):
        learned = super().optimizers()
        if self.learn_temperature:
            learned["temperature"] = self.temperature_optimizer, [self.log_temperature]
        return learned

    def update_temperature(self, entropy):
        """One gradient step of `log alpha`, if it is learned.

        Args:
            entropy: Scalar float32, nats, of the policy; receives no gradient.

        Returns:
            The `types.Gradients` of the step, or None.
        """
        if not self.learn_temperature:
            return None
        surplus = tf.stop_gradient(entropy) - self.target_entropy
        return self.gradient_step(
            "temperature", lambda: (self.log_temperature * surplus, {})
        )
