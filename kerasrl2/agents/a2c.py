"""Advantage actor-critic."""

import keras

from kerasrl2._numbers import Number
from kerasrl2.agents.actor_critic import ActorCritic
from kerasrl2.agents.optimizing import made_optimizer
from kerasrl2.agents.registry import register
from kerasrl2.losses import policy_gradient_loss, value_loss


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
        accumulation_steps: Integer, parts in which the gradients of a minibatch are
            computed, one after another, to need less memory; weights are the same.
        observation_normalizer: `layers.RunningNormalization` or None.
        reward_scaling: `layers.RewardScaling` or None.
        vtrace: Boolean, whether to learn by the loss of IMPALA: V-trace advantages and
            targets, Espeholt et al. (2018), https://arxiv.org/abs/1802.01561, right for
            rollouts of an older policy as well.
        clip_rho: Float > 0, the paper's rho-bar, with `vtrace`.
        clip_c: Float > 0, the paper's c-bar, with `vtrace`.
        sequence_length: Integer or None, steps of a sequence with a recurrent network;
            must divide `rollout_length`. None takes the whole rollout.
        seed: Integer, of all random numbers; None draws one.
        xla: `"auto"`, True or False, whether XLA compiles the loop.
        critic_optimizer: Keras optimizer of the weights that only the value depends on,
            the name of one, or None: `optimizer` moves them too, unless there is a
            `critic_learning_rate`. Policy and value must not share weights then.
        critic_learning_rate: Float, Keras schedule or None, of an optimizer like
            `optimizer`, or of that name; ignored if `critic_optimizer` is an object.
        huber_delta: Float > 0 or None: the value's error, in units of return, above
            which its loss is linear; None: half the squared error.
        **kwargs: `intrinsic_reward` of `ActorCritic`, a bonus such as that of `RND`;
            `name`, `dtype`, `trainable` of `keras.Model`.

    Metrics: `loss`, `policy_loss`, `value_loss`, `entropy` (nats), `gradient_norm`
    (before clipping); with `vtrace` `rho`, the mean clipped importance ratio.

    Example:
    >>> agent = A2C.for_env("CartPole-v1", entropy_coefficient=0.01, seed=0)
    >>> history = agent.fit("CartPole-v1", steps=400, epochs=1, verbose=0)
    >>> history.history["env_steps"]
    [400]
    """

    huber_delta = Number(0.0, open_low=True, optional=True)
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
        accumulation_steps=1,
        observation_normalizer=None,
        reward_scaling=None,
        vtrace=False,
        clip_rho=1.0,
        clip_c=1.0,
        sequence_length: int | None = None,
        seed=None,
        xla="auto",
        critic_optimizer=None,
        critic_learning_rate=None,
        huber_delta: float | None = None,
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
            vtrace,
            clip_rho,
            clip_c,
            accumulation_steps=accumulation_steps,
            sequence_length=sequence_length,
            max_gradient_norm=max_gradient_norm,
            observation_normalizer=observation_normalizer,
            seed=seed,
            xla=xla,
            critic_optimizer=critic_optimizer,
            critic_learning_rate=critic_learning_rate,
            **kwargs,
        )
        self.huber_delta = huber_delta

    @classmethod
    def hyperparameters(cls):
        fixed = "num_epochs", "batch_size"  # one step per rollout
        return [name for name in super().hyperparameters() if name not in fixed]

    def policy_loss(self, log_prob, advantage, batch):
        del batch
        return policy_gradient_loss(log_prob, advantage), {}

    def value_loss(self, value, batch):
        return value_loss(value, batch.target, self.huber_delta)
