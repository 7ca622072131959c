"""Proximal policy optimisation with random network distillation."""

from typing import Literal

import keras

from kerasrl2.agents.ppo import PPO
from kerasrl2.agents.registry import register


@register(
    "rnd",
    title="Random network distillation",
    quick={
        "hidden": (8,),
        "bonus_hidden": (8,),
        "num_features": 4,
        "num_envs": 4,
        "rollout_length": 16,
        "batch_size": 32,
        "priming_steps": 16,
    },
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class RND(PPO):
    """A `PPO` that is also paid for what it has not seen yet.

    Burda et al. (2019), https://arxiv.org/abs/1810.12894: two values with discounts of
    their own, an intrinsic return that knows no ends of episodes. `for_env` combines
    them; the constructor has the arguments and defaults of `PPO`. `A2C` takes the same
    bonus: `A2C.for_env(env, intrinsic_reward="rnd")`.

    Metrics: those of `PPO`, and `intrinsic_reward` (the mean scaled bonus of a
    rollout), `intrinsic_value_loss`, `predictor_loss`, `intrinsic_explained_variance`.

    Example:
    >>> agent = RND.for_env("CartPole-v1", num_features=8, seed=0)
    >>> agent.gamma, round(agent.intrinsic_reward.gamma, 2)
    (0.999, 0.99)
    """

    @classmethod
    def for_env(
        cls,
        env,
        *,
        gamma=0.999,
        intrinsic_gamma=0.99,
        intrinsic_coefficient=1.0,
        extrinsic_coefficient=2.0,
        num_features=64,
        bonus_hidden=(64, 64),
        predictor_share=1.0,
        priming_steps=1000,
        intrinsic_reward: Literal["rnd"] = "rnd",
        **hyperparameters,
    ):
        """Makes an agent with a bonus for new observations.

        Args:
            env: Environment id, callable, `gymnasium.Env` or `envs.Environment`.
            gamma: Float in [0, 1], discount of the environment's rewards.
            intrinsic_gamma: Float in [0, 1], discount of the bonus.
            intrinsic_coefficient: Float, weight of the intrinsic advantage.
            extrinsic_coefficient: Float, weight of the advantage of the rewards.
            num_features: Integer, outputs of the random network.
            bonus_hidden: Sequence of integers, units of its dense layers.
            predictor_share: Float in (0, 1], share of rows that train the predictor.
            priming_steps: Integer, env steps, counted by `fit`, before the first
                gradient step: only the moments of observations learn.
            intrinsic_reward: `"rnd"`, made of the keywords above.
            **hyperparameters: The other keywords of `PPO.for_env`.

        Returns:
            An `RND`.
        """
        if intrinsic_reward != "rnd":
            raise ValueError(
                "Expected `intrinsic_reward='rnd'`, which `RND.for_env` makes of its "
                f"keywords. Received: {intrinsic_reward!r:.80}. Give another one to "
                "`PPO.for_env`."
            )
        bonus = {
            "gamma": intrinsic_gamma,
            "intrinsic_coefficient": intrinsic_coefficient,
            "extrinsic_coefficient": extrinsic_coefficient,
            "num_features": num_features,
            "hidden": bonus_hidden,
            "predictor_share": predictor_share,
            "priming_steps": priming_steps,
        }
        return super().for_env(
            env, gamma=gamma, intrinsic_reward=bonus, **hyperparameters
        )
