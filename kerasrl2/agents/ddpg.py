"""Deep deterministic policy gradients."""

import keras

from kerasrl2.agents.registry import register
from kerasrl2.agents.td3 import TD3


@register(
    "ddpg",
    title="Deep deterministic policy gradients",
    actions=("continuous",),
    quick={
        "hidden": (8,), "learning_starts": 16, "batch_size": 16, "buffer_size": 512,
    },
)  # fmt: skip
@keras.saving.register_keras_serializable(package="kerasrl2")
class DDPG(TD3):
    """Deep deterministic policy gradients: `TD3` with its additions turned off.

    Algorithm 1 of Lillicrap et al. (2016), https://arxiv.org/abs/1509.02971: one
    critic, targets without noise, an actor and targets that move at every step. The
    constructor has the arguments of `TD3`; `for_env` chooses these.

    Example:
    >>> agent = DDPG.for_env("Pendulum-v1", seed=0)
    >>> agent.critic.output_shape, agent.policy_delay, agent.target_noise
    ((None, 1), 1, 0.0)
    """

    @classmethod
    def for_env(
        cls,
        env,
        *,
        num_critics=1,
        noise="ornstein_uhlenbeck",
        noise_stddev=0.2,
        target_noise=0.0,
        policy_delay=1,
        target_update_interval=1,
        learning_rate=1e-3,
        critic_learning_rate=2e-3,
        batch_size=64,
        buffer_size=50_000,
        **hyperparameters,
    ):
        """Makes an agent with all additions turned off; each can be turned on.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            num_critics: Integer, critics whose least value is the target.
            noise: As in `TD3.for_env`.
            noise_stddev: As in `TD3.for_env`.
            target_noise: Float >= 0, noise of the next action in targets.
            policy_delay: Integer, critic steps between steps of the actor.
            target_update_interval: Integer, critic steps between those of the targets.
            learning_rate: Float or Keras schedule, of the actor.
            critic_learning_rate: Float or Keras schedule, of the critic.
            batch_size: Integer, transitions per gradient step.
            buffer_size: Integer, capacity in transitions.
            **hyperparameters: The other keywords of `TD3.for_env`.

        Returns:
            A `DDPG`.
        """
        return super().for_env(
            env,
            num_critics=num_critics,
            noise=noise,
            noise_stddev=noise_stddev,
            target_noise=target_noise,
            policy_delay=policy_delay,
            target_update_interval=target_update_interval,
            learning_rate=learning_rate,
            critic_learning_rate=critic_learning_rate,
            batch_size=batch_size,
            buffer_size=buffer_size,
            **hyperparameters,
        )
