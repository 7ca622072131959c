"""Advantage actor-critic."""

import keras

from kerasrl2.agents.actor_critic import ActorCritic
from kerasrl2.agents.optimizing import made_optimizer
from kerasrl2.agents.registry import register
from kerasrl2.losses import policy_gradient_loss


@register("a2c", title="Advantage actor-critic", quick={"hidden": (8,), "num_envs": 2})
@keras.saving.register_keras_serializable(package="kerasrl2")
class A2C(ActorCritic):
    """Synchronous advantage actor-critic.

    The synchronous form of Mnih et al. (2016), https://arxiv.org/abs/1602.01783,
    section 4: `-mean(log pi * A) + c_v * mean(value loss) - c_h * mean(entropy)`,
    one gradient step per rollout. `A2C.for_env` builds network and head.

    Args:
        network: Keras model from `[B, ...]` observations to `[parameters, value]`; one
            with `initial_state` is recurrent, see `layers.RecurrentNetwork`.
        head: Policy head of `kerasrl2.distributions`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        learning_rate: Float or Keras schedule over gradient steps; ignored if an
            `optimizer` object is given.
        optimizer: Keras optimizer or the name of one; None makes RMSprop with rho 0.99
            and epsilon 1e-5.
        gamma: Float in [0, 1], discount per env step.
        lambda_: Float in [0, 1], decay of generalized advantages; 1 is the n-step
            return to the rollout's end.
        n_step: Integer or None, n-step advantages instead of generalized ones.
        value_coefficient: Float, weight of the value loss, `c_v`.
        entropy_coefficient: Float, weight of the entropy, `c_h`.
        normalize_advantages: Boolean, whether to normalise them in each minibatch.
        max_gradient_norm: Float or None, global norm to clip gradients to.
        rollout_length: Integer, steps `T` of each environment per update.
        num_envs: Integer, copies of an environment given to `fit` as id or callable.
        observation_normalizer: `layers.RunningNormalization` or None.
        reward_scaling: `layers.RewardScaling` or None.
        sequence_length: Integer or None, steps of a sequence with a recurrent network;
            must divide `rollout_length`. None takes the whole rollout.
        seed: Integer, of all random numbers; None draws one.
        xla: `"auto"`, True or False, whether XLA compiles the loop.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Metrics: `loss`, `policy_loss`, `value_loss`, `entropy` (nats), `gradient_norm`
    (before clipping).
    """

    metric_names = ("loss", "policy_loss", "value_loss", "entropy", "gradient_norm")

    def __init__(
        self,
        network,
        head,
        observation_spec=None,
        learning_rate=7e-4,
        optimizer=None,
        gamma=0.99,
        lambda_=1.0,
        n_step=None,
        value_coefficient=0.5,
        entropy_coefficient=0.0,
        normalize_advantages=False,
        max_gradient_norm: float | None = 0.5,
        rollout_length=5,
        num_envs=8,
        observation_normalizer=None,
        reward_scaling=None,
        sequence_length: int | None = None,
        seed=None,
        xla="auto",
        **kwargs,
    ):
        optimizer = made_optimizer(
            optimizer, learning_rate, keras.optimizers.RMSprop, rho=0.99, epsilon=1e-5
        )
        super().__init__(
            network,
            head,
            observation_spec,
            optimizer,
            gamma,
            lambda_,
            n_step,
            value_coefficient,
            entropy_coefficient,
            normalize_advantages,
            1,
            None,
            rollout_length,
            num_envs,
            reward_scaling,
            sequence_length,
            max_gradient_norm=max_gradient_norm,
            observation_normalizer=observation_normalizer,
            seed=seed,
            xla=xla,
            **kwargs,
        )

    @classmethod
    def hyperparameters(cls):
        fixed = "num_epochs", "batch_size"  # one step per rollout
        return [name for name in super().hyperparameters() if name not in fixed]

    def policy_loss(self, log_prob, advantage, batch):
        del batch
        return policy_gradient_loss(log_prob, advantage), {}
