"""Twin delayed deterministic policy gradients."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice
from kerasrl2._numbers import Number
from kerasrl2.action_noise import ActionNoise, GaussianNoise, OrnsteinUhlenbeckNoise
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.critics_builder import CriticsBuilder
from kerasrl2.agents.registry import register
from kerasrl2.agents.replay_critics import CRITIC_METRICS, ReplayCritics
from kerasrl2.distributions import Deterministic
from kerasrl2.distributions.sampling import normal, shape_of
from kerasrl2.layers import frozen_copy, update_target

NOISES = ("gaussian", "ornstein_uhlenbeck", "none")


@register(
    "td3",
    title="Twin delayed deterministic policy gradients",
    actions=("continuous",),
    quick={
        "hidden": (8,), "learning_starts": 16, "batch_size": 16, "buffer_size": 512,
    },
)  # fmt: skip
@keras.saving.register_keras_serializable(package="kerasrl2")
class TD3(ReplayCritics, CriticsBuilder, Agent):
    """Twin delayed deep deterministic policy gradients.

    Algorithm 1 of Fujimoto et al. (2018), https://arxiv.org/abs/1802.09477. Critics
    learn `r + discount min_k Q'_k(s', clip(mu'(s') + clip(eps, -c, c), -1, 1))`, the
    actor maximises `Q_1(s, mu(s))`; actor and targets move at every second step of the
    critics. With one critic, `target_noise=0` and `policy_delay=1` it is `DDPG`.

    Args:
        network: The actor, a Keras model of `[B, ...]` observations to `[B, D]`, before
            tanh.
        critic: Keras model of `[observation, action]` to `[B, K]`; actions have bounds
            -1 and 1.
        head: `distributions.Deterministic`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        noise: One of `kerasrl2.action_noise`; None takes `GaussianNoise(0.1)`.
        target_noise: Float >= 0, standard deviation of `eps`, in units of half the
            action's range.
        target_noise_clip: Float >= 0, `c`.
        policy_delay: Integer, critic steps between steps of the actor.
        target_update_interval: Integer, critic steps between steps of the targets.
        **kwargs: Further keywords of `ReplayCritics` and `Agent`.

    Metrics: `critic_loss` (summed over critics), `td_error` (mean absolute), `q_value`
    (mean over actions taken), `critic_gradient_norm`, and of the latest step of the
    actor `actor_loss` and `actor_gradient_norm`.

    Example:
    >>> agent = TD3.for_env("Pendulum-v1", learning_starts=64, batch_size=16, seed=0)
    >>> history = agent.fit("Pendulum-v1", steps=96, epochs=1, verbose=0)
    >>> [int(o.iterations) for o, _ in agent.optimizers().values()]
    [16, 32]
    """

    metric_names = (*CRITIC_METRICS, *ReplayCritics.actor_metrics)
    remembers = False  # the state is that of the noise

    target_noise = Number(0.0)
    target_noise_clip = Number(0.0)

    def __init__(
        self,
        network,
        critic,
        head,
        observation_spec=None,
        noise=None,
        target_noise=0.2,
        target_noise_clip=0.5,
        policy_delay=2,
        target_update_interval=2,
        **kwargs,
    ):
        super().__init__(
            network,
            critic,
            head,
            observation_spec,
            policy_delay=policy_delay,
            target_update_interval=target_update_interval,
            **kwargs,
        )
        self.noise = noise or GaussianNoise()
        self.target_noise, self.target_noise_clip = target_noise, target_noise_clip
        targets = self.target_networks
        self.target_network = frozen_copy(self.network) if targets else None

    @classmethod
    def for_env(cls, env, *, noise="gaussian", noise_stddev=0.1, **hyperparameters):
        """Makes an agent whose networks, head and buffer fit an environment.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            noise: Object of `kerasrl2.action_noise`, or `"gaussian"`,
                `"ornstein_uhlenbeck"` or `"none"`.
            noise_stddev: Float or Keras schedule over env steps, its size, in units of
                half the action's range.
            **hyperparameters: Keywords of `CriticsBuilder.for_env` and the constructor.

        Returns:
            An agent.
        """
        noise = _noise(noise, noise_stddev)
        return super().for_env(env, noise=noise, **hyperparameters)

    @classmethod
    def head_of(cls, space):
        return Deterministic.of_space(space)

    # Acting

    def initial_state(self, num_envs):
        """The state of the noise at the start of episodes."""
        return self.noise.initial_state(num_envs, *self.head.action_shape)

    def forward(self, observation, policy_state=(), training=False, seed=None):
        outputs = super().forward(observation, policy_state, training)
        if seed is None:  # greedy
            return outputs
        if not tf.nest.flatten(policy_state):
            policy_state = self.initial_state(shape_of(outputs.parameters)[0])
        return outputs._replace(policy_state=self.noise.next_state(policy_state, seed))

    def sampled_actions(self, outputs, seed, env_steps):
        action = self.head.mode(outputs.parameters)
        return self.noise(action, outputs.policy_state, env_steps, seed)

    # Learning

    def next_actions(self, observation, seed):
        network = self.target_network if self.target_networks else self.network
        outputs = network(self.normalized(observation))
        action = self.head.mode(tf.cast(outputs, tf.float32))
        noise = self.target_noise * normal(shape_of(action), seed, action.dtype)
        limit = self.target_noise_clip
        noise = tf.clip_by_value(noise, -limit, limit)
        return tf.clip_by_value(action + noise, -1.0, 1.0), 0.0

    def update_actor(self, batch, seed):
        del seed

        def loss():
            outputs = self.forward(batch.observation, training=True)
            action = self.head.mode(outputs.parameters)
            value = self.values_of(self.critic, batch.observation, action)
            return -tf.reduce_mean(value[:, 0]), {}

        step = self.gradient_step("actor", loss)
        return [step.loss, step.norm]

    def update_targets(self):
        super().update_targets()
        update_target(self.target_network, self.network, self.tau)


def _noise(noise, stddev):
    if not isinstance(noise, str):
        return noise
    check_choice("noise", noise, NOISES)
    if noise == "none":
        return ActionNoise()
    if noise == "gaussian":
        return GaussianNoise(stddev)
    return OrnsteinUhlenbeckNoise(sigma=stddev)
