"""Soft actor-critic: three optimizers, two critics and their targets."""

import keras
import numpy as np
import tensorflow as tf

from kerasrl2 import envs
from kerasrl2.agents import Agent, Number, ObservationSpec, register
from kerasrl2.agents.planning import off_policy_updates
from kerasrl2.buffers import ReplayBuffer
from kerasrl2.distributions import head_for
from kerasrl2.layers import frozen_copy, mlp, seed_weights, update_target
from kerasrl2.training import OffPolicyLoop


@register(
    "my_sac",
    title="Soft actor-critic",
    actions=("continuous",),
    quick={
        "hidden": (8,), "learning_starts": 16, "batch_size": 16, "buffer_size": 512,
    },
)  # fmt: skip
@keras.saving.register_keras_serializable(package="newcomers")
class SAC(Agent):
    """Haarnoja et al. (2018), https://arxiv.org/abs/1812.05905, algorithm 1.

    Args:
        network: The actor, `[B, ...]` to the parameters of a squashed Gaussian.
        critics: List of two Keras models of `[observation, tanh(u)]` to `[B, 1]`.
        head: `distributions.SquashedGaussian`.
        observation_spec: `ObservationSpec`.
        learning_rate: Float, of all three optimizers.
        optimizer: Keras optimizer of the actor, or None.
        gamma: Float in [0, 1].
        tau: Float in (0, 1], how far the targets move.
        buffer: Replay buffer.
        batch_size: Integer.
        train_frequency: Integer, steps between updates.
        gradient_steps: Integer, updates made then.
        learning_starts: Integer, transitions before the first.
        num_envs: Integer.
        **kwargs: Of `Agent`.
    """

    metric_names = ("critic_loss", "actor_loss", "temperature", "entropy")
    loop_class = OffPolicyLoop
    gamma = Number(0.0, 1.0)
    tau = Number(0.0, 1.0, open_low=True)
    learning_starts = Number(integer=True)

    def __init__(
        self,
        network,
        critics,
        head,
        observation_spec=None,
        learning_rate=3e-4,
        optimizer=None,
        gamma=0.99,
        tau=0.005,
        buffer=None,
        batch_size=256,
        train_frequency=1,
        gradient_steps=1,
        learning_starts=100,
        num_envs=1,
        **kwargs,
    ):
        adam = keras.optimizers.Adam
        super().__init__(
            network, head, observation_spec, optimizer or adam(learning_rate), **kwargs
        )
        self.critics, self.gamma, self.tau = list(critics), gamma, tau
        self.critic_optimizer = adam(learning_rate)
        self.temperature_optimizer = adam(learning_rate)
        self.log_temperature = self.add_weight(name="log_temperature", shape=())
        self.log_temperature.assign(0.0)
        self.target_critics = [frozen_copy(critic) for critic in self.critics]
        self.buffer = buffer or ReplayBuffer(100_000, gamma=gamma, seed=self.seed)
        self.batch_size, self.num_envs = batch_size, num_envs
        self.train_frequency, self.gradient_steps = train_frequency, gradient_steps
        self.learning_starts = learning_starts
        self.target_entropy = -float(np.prod(head.action_shape))

    @classmethod
    def for_env(
        cls, env, hidden=(256, 256), buffer_size=100_000, seed=None, **settings
    ):
        made = envs.make(env)
        spec = ObservationSpec.of_space(made.observation_space)
        head = head_for(made.action_space, "squashed_gaussian")
        size = head.action_shape[0]
        body = mlp(spec.shape, hidden, "relu")
        actor = keras.Model(
            body.input, keras.layers.Dense(head.num_parameters)(body.output)
        )
        critics = []
        for i in range(2):
            inputs = keras.Input(spec.shape), keras.Input((size,))
            joined = keras.layers.Concatenate()(list(inputs))
            body = mlp((spec.shape[0] + size,), hidden, "relu", name=f"critic_{i}")
            critics.append(
                keras.Model(list(inputs), keras.layers.Dense(1)(body(joined)))
            )
        if seed is not None:
            for i, network in enumerate((actor, *critics)):
                seed_weights(network, seed + i)
        buffer = ReplayBuffer(buffer_size, seed=seed)
        return cls(actor, critics, head, spec, buffer=buffer, seed=seed, **settings)

    @classmethod
    def planned_updates(cls, settings, steps):
        return off_policy_updates(settings, steps)

    # What the off-policy loop asks for

    def choose(self, outputs, seed, env_steps):
        action = super().choose(outputs, seed, env_steps)
        anything = self.head.random(action.shape[0], seed + tf.constant([0, 1]))
        return tf.where(env_steps < self.learning_starts, anything, action)

    def optimizers(self):
        critic_weights = [w for c in self.critics for w in c.trainable_variables]
        return {
            "actor": (self.optimizer, self.network.trainable_variables),
            "critic": (self.critic_optimizer, critic_weights),
            "temperature": (self.temperature_optimizer, [self.log_temperature]),
        }

    # Learning

    def values(self, critics, observation, u):
        return [tf.squeeze(c([observation, tf.tanh(u)]), -1) for c in critics]

    def sampled(self, observation, seed):
        parameters = self.forward(observation, training=True).parameters
        u = self.head.sample(parameters, seed)
        return u, self.head.log_prob(parameters, u)

    def update(self, batch, seed):
        seeds = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        temperature = tf.exp(tf.convert_to_tensor(self.log_temperature))
        next_u, next_log_prob = self.sampled(batch.next_observation, seeds[0])
        next_values = self.values(self.target_critics, batch.next_observation, next_u)
        soft = tf.minimum(*next_values) - temperature * next_log_prob
        target = tf.stop_gradient(batch.reward + batch.discount * soft)

        def critic_loss():
            values = self.values(self.critics, batch.observation, batch.action)
            errors = [tf.reduce_mean(batch.weight * (v - target) ** 2) for v in values]
            return 0.5 * tf.add_n(errors), {"td_error": target - values[0]}

        def actor_loss():
            u, log_prob = self.sampled(batch.observation, seeds[1])
            value = tf.minimum(*self.values(self.critics, batch.observation, u))
            return tf.reduce_mean(temperature * log_prob - value), {
                "log_prob": log_prob
            }

        critic = self.gradient_step("critic", critic_loss)
        actor = self.gradient_step("actor", actor_loss)
        entropy = -tf.reduce_mean(actor.metrics["log_prob"])
        gap = tf.stop_gradient(self.target_entropy - entropy)
        self.gradient_step("temperature", lambda: (-self.log_temperature * gap, {}))
        for ours, target_critic in zip(self.critics, self.target_critics, strict=True):
            update_target(target_critic, ours, self.tau)
        metrics = {
            "critic_loss": critic.loss,
            "actor_loss": actor.loss,
            "temperature": temperature,
            "entropy": entropy,
        }
        return metrics, critic.metrics["td_error"]
