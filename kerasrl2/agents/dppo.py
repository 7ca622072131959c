"""Distributed proximal policy optimisation."""

import keras

from kerasrl2.agents.ppo import PPO
from kerasrl2.agents.registry import register


@register(
    "dppo",
    title="Distributed proximal policy optimisation",
    settings="../zoo/dppo.yaml",
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class DPPO(PPO):
    """A `PPO` for several workers: rollouts of all of them are one batch.

    Heess et al. (2017), https://arxiv.org/abs/1707.02286. With `fit(..., workers=4)`
    workers play with the same weights and this process learns from all rollouts
    together, or averages the gradients that workers compute
    (`distributed.Workers(average_gradients=True)`): `W` workers of `N` environments
    take the steps of `PPO` with `W N`. The constructor is that of `PPO`.

    Example:
    >>> agent = DPPO.for_env("Pendulum-v1", seed=0)
    >>> agent.num_envs, agent.rollout_length, agent.batch_size
    (4, 128, 128)
    """

    @classmethod
    def for_env(cls, env, *, num_envs=4, **hyperparameters):
        """Makes an agent.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            num_envs: Integer, environments of each worker.
            **hyperparameters: The other keywords of `PPO.for_env`.

        Returns:
            A `DPPO`.
        """
        return super().for_env(env, num_envs=num_envs, **hyperparameters)
