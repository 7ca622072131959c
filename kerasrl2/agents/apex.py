"""Ape-X: prioritized replay that many workers fill, each exploring in its own way."""

import keras

from kerasrl2.agents.ddpg import DDPG
from kerasrl2.agents.dqn import DQN
from kerasrl2.agents.registry import register
from kerasrl2.agents.replay_builder import Prioritized
from kerasrl2.exploration import EpsilonLadder


@register(
    "apex",
    title="Ape-X DQN",
    quick={
        "hidden": (8,), "learning_starts": 16, "batch_size": 16, "buffer_size": 512,
        "num_envs": 2, "train_frequency": 1, "target_update_interval": 10,
    },
    settings="../zoo/apex.yaml",
)  # fmt: skip
@keras.saving.register_keras_serializable(package="kerasrl2")
class ApeX(DQN):
    """A `DQN` with double Q-learning, dueling networks, 3-step returns and priorities.

    Horgan et al. (2018), https://arxiv.org/abs/1803.00933: with `fit(..., workers=8)`
    workers play, each of their environments with an epsilon of its own
    (`exploration.EpsilonLadder`), compute the first priorities, and send transitions to
    the replay buffer of the process that learns. Without workers this process plays as
    well. `for_env` combines the parts; the constructor is that of `DQN`.

    Example:
    >>> agent = ApeX.for_env("CartPole-v1", seed=0)
    >>> agent.double, agent.buffer.n_step, agent.buffer.alpha, agent.batch_size
    (True, 3, 0.6, 512)
    """

    @classmethod
    def for_env(
        cls,
        env,
        *,
        double=True,
        dueling=True,
        prioritized: Prioritized = True,
        alpha=0.6,
        beta=0.4,
        n_step=3,
        exploration="ladder",
        num_envs=8,
        batch_size=512,
        train_frequency=64,
        buffer_size=1_000_000,
        target_update_interval=2_500,
        **hyperparameters,
    ):
        """Makes an agent with the settings of the paper.

        The paper's learner replays about as many transitions as are played: 512 an
        update, one each 64 steps of 8 environments.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            double: Boolean, double Q-learning.
            dueling: Boolean, separate value and advantage streams.
            prioritized: As in `DQN.for_env`.
            alpha: Float, exponent of the priorities.
            beta: Float, initial exponent of the importance weights.
            n_step: Integer, rewards summed in a target.
            exploration: `"ladder"`, `exploration.EpsilonLadder`; or as in
                `DQN.for_env`.
            num_envs: Integer, environments of each worker.
            batch_size: Integer, transitions per gradient step.
            train_frequency: Integer, steps of each environment between updates.
            buffer_size: Integer, capacity in transitions.
            target_update_interval: Integer, gradient steps between copies.
            **hyperparameters: The other keywords of `DQN.for_env`.

        Returns:
            An `ApeX`.
        """
        if isinstance(exploration, str) and exploration == "ladder":
            exploration = EpsilonLadder()
        return super().for_env(
            env,
            double=double,
            dueling=dueling,
            prioritized=prioritized,
            alpha=alpha,
            beta=beta,
            n_step=n_step,
            exploration=exploration,
            num_envs=num_envs,
            batch_size=batch_size,
            train_frequency=train_frequency,
            buffer_size=buffer_size,
            target_update_interval=target_update_interval,
            **hyperparameters,
        )


@register(
    "apex_dpg",
    title="Ape-X DPG",
    quick={
        "hidden": (8,), "learning_starts": 16, "batch_size": 16, "buffer_size": 512,
        "num_envs": 2, "train_frequency": 1,
    },
    settings="../zoo/apex_dpg.yaml",
)  # fmt: skip
@keras.saving.register_keras_serializable(package="kerasrl2")
class ApeXDPG(DDPG):
    """A `DDPG` with 5-step returns and priorities, for continuous actions.

    Appendix D of Horgan et al. (2018), https://arxiv.org/abs/1803.00933, with workers
    as `ApeX`. The priorities are the critic's absolute TD errors.

    Example:
    >>> agent = ApeXDPG.for_env("Pendulum-v1", seed=0)
    >>> agent.buffer.n_step, agent.buffer.alpha, agent.critic.output_shape
    (5, 0.6, (None, 1))
    """

    @classmethod
    def for_env(
        cls,
        env,
        *,
        prioritized: Prioritized = True,
        alpha=0.6,
        beta=0.4,
        n_step=5,
        noise="gaussian",
        noise_stddev=0.3,
        num_envs=8,
        batch_size=256,
        train_frequency=8,
        learning_rate=1e-4,
        critic_learning_rate=1e-4,
        buffer_size=1_000_000,
        **hyperparameters,
    ):
        """Makes an agent; the settings that differ from those of `DDPG` are these.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            prioritized: As in `DQN.for_env`.
            alpha: Float, exponent of the priorities.
            beta: Float, initial exponent of the importance weights.
            n_step: Integer, rewards summed in a target.
            noise: As in `TD3.for_env`.
            noise_stddev: As in `TD3.for_env`.
            num_envs: Integer, environments of each worker.
            batch_size: Integer, transitions per gradient step.
            train_frequency: Integer, steps of each environment between updates.
            learning_rate: Float or Keras schedule, of the actor.
            critic_learning_rate: Float or Keras schedule, of the critic.
            buffer_size: Integer, capacity in transitions.
            **hyperparameters: The other keywords of `DDPG.for_env`.

        Returns:
            An `ApeXDPG`.
        """
        return super().for_env(
            env,
            prioritized=prioritized,
            alpha=alpha,
            beta=beta,
            n_step=n_step,
            noise=noise,
            noise_stddev=noise_stddev,
            num_envs=num_envs,
            batch_size=batch_size,
            train_frequency=train_frequency,
            learning_rate=learning_rate,
            critic_learning_rate=critic_learning_rate,
            buffer_size=buffer_size,
            **hyperparameters,
        )
