"""Soft actor-critic for discrete actions."""

import math

import keras
import tensorflow as tf

from kerasrl2.agents.agent import Agent
from kerasrl2.agents.checking import outputs_of
from kerasrl2.agents.critics_builder import CriticsBuilder
from kerasrl2.agents.registry import register
from kerasrl2.agents.replay_critics import CRITIC_METRICS, ReplayCritics
from kerasrl2.agents.temperature import Temperature
from kerasrl2.distributions import head_for
from kerasrl2.distributions.masks import ILLEGAL
from kerasrl2.losses import categorical_entropy, value_of_action


@register(
    "discrete_sac",
    title="Soft actor-critic for discrete actions",
    actions=("discrete",),
    quick={
        "hidden": (8,), "learning_starts": 16, "batch_size": 16, "buffer_size": 512,
    },
)  # fmt: skip
@keras.saving.register_keras_serializable(package="kerasrl2")
class DiscreteSAC(Temperature, ReplayCritics, CriticsBuilder, Agent):
    """Soft actor-critic with exact expectations over discrete actions.

    Algorithm 1 of Christodoulou (2019), https://arxiv.org/abs/1910.07207. Critics give
    the values of all actions; they learn
    `r + discount sum_a pi(a|s') (min_k Q'_k(s', a) - alpha log pi(a|s'))`, and the
    actor minimises `sum_a pi(a|s) (alpha log pi(a|s) - min_k Q_k(s, a))`. Illegal
    actions (`action_mask`) have no part in either.

    Args:
        network: The actor, a Keras model of `[B, ...]` observations to logits `[B, A]`.
        critic: Keras model of observations to `[B, K, A]`.
        head: `distributions.Categorical`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        target_entropy: Float, nats, or None for `0.4 log A`. With the paper's 0.98
            the temperature grows without bound where nearly every action matters.
        **kwargs: Further keywords of `Temperature`, `ReplayCritics` and `Agent`.

    Metrics: as of `SAC`.

    Example:
    >>> agent = DiscreteSAC.for_env("CartPole-v1", hidden=(8,), seed=0)
    >>> agent.critic.output_shape, round(agent.target_entropy, 4)
    ((None, 2, 2), 0.2773)
    """

    actor_metrics = (*ReplayCritics.actor_metrics, "entropy", "temperature")
    metric_names = (*CRITIC_METRICS, *actor_metrics)
    actions = "discrete"

    @classmethod
    def head_of(cls, space):
        return head_for(space)

    def default_entropy(self):
        return 0.4 * math.log(self.head.num_actions)

    def random_actions(self, outputs, seed):
        """Any legal action, all alike."""
        logits = outputs.parameters
        legal = logits > 0.5 * ILLEGAL
        return self.head.sample(tf.where(legal, tf.zeros_like(logits), logits), seed)

    # Learning

    def values_of(self, critic, observation, action=None, training=False):
        """`[B, K, A]` float32, values of all actions; of one, `[B, K]`."""
        values = critic(self.normalized(observation), training=training)
        values = tf.cast(values, tf.float32)
        if action is None:
            return values
        each = tf.repeat(action[:, None], values.shape[1], axis=1)
        return value_of_action(values, each)

    def critic_loss(self, batch, seed):
        del seed
        logits = self.forward(batch.next_observation).parameters
        next_value = self.values_of(self.following_critic, batch.next_observation)
        following = tf.reduce_sum(
            tf.nn.softmax(logits) * tf.reduce_min(next_value, axis=1), axis=1
        )
        bonus = self.temperature * categorical_entropy(logits)
        target = batch.reward + batch.discount * (following + bonus)
        value = self.values_of(
            self.critic, batch.observation, batch.action, training=True
        )
        loss, error = self.critic_losses(value, tf.stop_gradient(target))
        weighted = tf.reduce_mean(batch.weight * loss)
        return weighted, {"td_error": error, "q_value": tf.reduce_mean(value)}

    def update_actor(self, batch, seed):
        del seed
        temperature = tf.convert_to_tensor(self.temperature)
        value = self.values_of(self.critic, batch.observation)
        value = tf.stop_gradient(tf.reduce_min(value, axis=1))

        def loss():
            logits = self.forward(batch.observation, training=True).parameters
            entropy = categorical_entropy(logits)
            expected = tf.reduce_sum(tf.nn.softmax(logits) * value, axis=1)
            objective = tf.reduce_mean(temperature * entropy + expected)
            return -objective, {"entropy": tf.reduce_mean(entropy)}

        step = self.gradient_step("actor", loss)
        entropy = step.metrics["entropy"]
        self.update_temperature(entropy)
        return [step.loss, step.norm, entropy, temperature]

    # Checks

    def symbolic_values(self):
        return outputs_of(self.critic, self.observation_spec)

    def _fits(self, shape):
        return len(shape) == 3 and shape[2] == self.head.num_actions

    def _wanted(self):
        return f"[B, K, {self.head.num_actions}]"
