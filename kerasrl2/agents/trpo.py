"""Trust-region policy optimisation, and the natural policy gradient."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_range
from kerasrl2._numbers import Number
from kerasrl2.agents.actor_critic import ActorCritic
from kerasrl2.agents.optimizing import made_optimizer
from kerasrl2.agents.registry import register
from kerasrl2.agents.surrogate import (
    Surrogate,
    check_separate,
    flat,
    separate_shares,
)
from kerasrl2.natural_gradient import (
    Step,
    backtracking_line_search,
    conjugate_gradient,
    trust_region_length,
)
from kerasrl2.statistics import global_norm, masked_mean

# `optimizer` is the critic's, which has a loss of its own.
_FIXED = {"value_coefficient", "critic_optimizer", "critic_learning_rate"}
_FIXED |= {"intrinsic_reward", "accumulation_steps", "sequence_length"}


@register(
    "trpo",
    title="Trust-region policy optimisation",
    quick={"hidden": (8,), "num_envs": 4, "rollout_length": 16, "batch_size": 32},
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class TRPO(ActorCritic):
    """Trust-region policy optimisation: the natural gradient, within a KL divergence.

    Schulman et al. (2015), https://arxiv.org/abs/1502.05477, appendix C, on advantages
    of Schulman et al. (2016), https://arxiv.org/abs/1506.02438. Once a rollout:
    `theta += s x` with `(F + damping) x = g`, `g` the gradient of
    `mean(rho A) + c_h * mean(entropy)`, `rho` the ratio of the new to the old policy,
    `F` its Fisher matrix, and the largest `s` of a line search that improves this
    objective and keeps the mean `KL(old || new)` within `target_kl`; no such `s`: no
    step. With `line_search=False` and a `step_size` it is the natural policy gradient
    of Kakade (2001),
    https://papers.nips.cc/paper/2073-a-natural-policy-gradient. The critic has weights
    of its own, which an optimizer moves in `num_epochs` passes of minibatches. Networks
    are always called with `training=False`. `TRPO.for_env` builds network and head.

    Args:
        network: Keras model from `[B, ...]` observations to `[parameters, value]`,
            which share no weights.
        head: Policy head of `kerasrl2.distributions`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        learning_rate: Float or Keras schedule over gradient steps, of the critic;
            ignored if an `optimizer` object is given.
        optimizer: Keras optimizer of the critic or the name of one; None makes Adam.
        gamma: Float in [0, 1], discount per env step.
        lambda_: Float in [0, 1], decay of generalized advantages.
        n_step: Integer or None, n-step advantages instead of generalized ones.
        target_kl: Float > 0, the largest mean divergence (nats) of a step, `delta`.
        line_search: Boolean, whether a step must improve the objective within
            `target_kl`; False takes the whole step, if it is finite.
        step_size: Float or None, the multiple of `x` that is tried first; None takes
            the one whose divergence is `target_kl` to second order.
        backtrack_factor: Float in (0, 1), ratio of two steps that are tried.
        max_backtracks: Integer, steps to try.
        cg_iterations: Integer, of the conjugate gradients that find `x`.
        damping: Float, added to the diagonal of `F`.
        fisher_subsampling: Float in (0, 1], the share of a rollout, drawn anew each
            time, that `F` is estimated from.
        entropy_coefficient: Float, weight of the entropy, `c_h`.
        normalize_advantages: Boolean, whether to normalise them in each rollout.
        max_gradient_norm: Float or None, global norm to clip the critic's gradients to.
        num_epochs: Integer, the critic's passes over each rollout.
        batch_size: Integer, steps per minibatch of the critic; must divide the rollout.
            None takes the whole rollout.
        rollout_length: Integer, steps `T` of each environment per rollout.
        num_envs: Integer, copies of an environment given to `fit` as id or callable.
        observation_normalizer: `layers.RunningNormalization` or None.
        reward_scaling: `layers.RewardScaling` or None.
        seed: Integer, of all random numbers; None draws one.
        xla: `"auto"`, True or False, whether XLA compiles the loop.
        **kwargs: `vtrace`, `clip_rho` and `clip_c` as of `A2C`; `name`, `dtype`,
            `trainable` of `keras.Model`.

    Metrics: of the critic's gradient steps `loss`, `value_loss` and `gradient_norm`
    (before clipping); once a rollout `kl` (nats, exact) and `improvement` (of the
    objective) of the step taken, `step_fraction` (of the first one tried; 0: none was
    taken), `cg_residual` (norm of `g - (F + damping) x`, as a fraction of that of `g`),
    `policy_gradient_norm` (of `g`) and `entropy` (nats, before the step).

    Example:
    >>> agent = TRPO.for_env("CartPole-v1", rollout_length=32, batch_size=64, seed=0)
    >>> history = agent.fit("CartPole-v1", steps=512, epochs=1, verbose=0)
    >>> 0.0 < history.history["kl"][0] <= 0.01
    True
    """

    can_remember = False
    metric_names = ("loss", "value_loss", "gradient_norm")
    policy_metric_names = (
        "kl",
        "improvement",
        "step_fraction",
        "cg_residual",
        "policy_gradient_norm",
        "entropy",
    )
    target_kl = Number(0.0, open_low=True)
    step_size = Number(0.0, open_low=True, optional=True)
    backtrack_factor = Number(0.0, 1.0, open_low=True, open_high=True)
    max_backtracks = Number(integer=True)
    cg_iterations = Number(integer=True)
    damping = Number(0.0)

    def __init__(
        self,
        network,
        head,
        observation_spec=None,
        learning_rate=1e-3,
        optimizer=None,
        gamma=0.99,
        lambda_=0.95,
        n_step=None,
        target_kl=0.01,
        line_search=True,
        step_size: float | None = None,
        backtrack_factor=0.8,
        max_backtracks=10,
        cg_iterations=15,
        damping=0.1,
        fisher_subsampling=1.0,
        entropy_coefficient=0.0,
        normalize_advantages=True,
        max_gradient_norm: float | None = None,
        num_epochs=10,
        batch_size: int | None = 128,
        rollout_length=256,
        num_envs=8,
        observation_normalizer=None,
        reward_scaling=None,
        seed=None,
        xla="auto",
        **kwargs,
    ):
        optimizer = made_optimizer(optimizer, learning_rate, keras.optimizers.Adam)
        super().__init__(
            network,
            head,
            observation_spec,
            optimizer,
            gamma,
            lambda_,
            n_step,
            1.0,
            entropy_coefficient,
            normalize_advantages,
            num_epochs,
            batch_size,
            rollout_length,
            num_envs,
            reward_scaling,
            max_gradient_norm=max_gradient_norm,
            observation_normalizer=observation_normalizer,
            seed=seed,
            xla=xla,
            **kwargs,
        )
        self.target_kl, self.step_size = target_kl, step_size
        self.line_search, self.backtrack_factor = line_search, backtrack_factor
        self.max_backtracks, self.cg_iterations = max_backtracks, cg_iterations
        self.damping, self.fisher_subsampling = damping, fisher_subsampling
        check_range("fisher_subsampling", fisher_subsampling, 0.0, 1.0, open_low=True)

    @classmethod
    def hyperparameters(cls):
        return [name for name in super().hyperparameters() if name not in _FIXED]

    def ready(self):
        for name in ("policy_loss", "penalty"):
            if getattr(type(self), name) is not getattr(ActorCritic, name):
                raise ValueError(
                    f"Expected `improve_policy` or `search` in {type(self).__name__}, "
                    f"for another step. Received: `{name}`, which TRPO does not call: "
                    "its objective is a surrogate, and no loss."
                )
        check_separate(self)
        super().ready()

    def optimizers(self):
        """The critic's optimizer, named `"optimizer"`, and the critic's weights."""
        return {"optimizer": (self.optimizer, separate_shares(self).critic)}

    @property
    def report_names(self):
        return (*super().report_names, *self.policy_metric_names)

    # Learning

    def learn_from(self, batch, seed):
        """A step of the policy, then `num_epochs` passes of the critic.

        Args:
            batch: `OnPolicyBatch`.
            seed: `[2]` int32.

        Returns:
            `(sums, updates)`: metrics summed over the critic's gradient steps, and
            their number.
        """
        of_policy, of_critic = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        improved = self.improve_policy(batch, of_policy)
        sums, updates = super().learn_from(batch, of_critic)
        once = {n: tf.cast(x, tf.float32) * updates for n, x in improved.items()}
        return {**sums, **once}, updates

    def improve_policy(self, batch, seed):
        """Takes one step with the policy's weights, or none; returns metrics.

        Args:
            batch: `OnPolicyBatch`, all steps of a rollout.
            seed: `[2]` int32, of the rows the Fisher matrix is estimated from.

        Returns:
            Dictionary of the scalars in `policy_metric_names`.
        """
        surrogate = Surrogate(self, batch)
        weights = flat(surrogate.variables)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            before = surrogate(weights)
        gradient = tape.gradient(before.objective, weights)
        product = surrogate.fisher_product(weights, seed)
        found = conjugate_gradient(product, gradient, self.cg_iterations)
        norm, residual = global_norm([gradient]), global_norm([found.residual])
        finite = tf.math.is_finite(global_norm([found.solution]))
        nan = tf.constant(float("nan"), norm.dtype)
        self.guard.report_step(before.objective, tf.where(finite, norm, nan), 0)
        length = self.step_size
        if length is None:
            arguments = found.solution, gradient, found.residual, self.target_kl
            length = trust_region_length(*arguments)
        step = tf.cast(length, weights.dtype) * found.solution

        def evaluate(fraction):
            after = surrogate(weights + tf.cast(fraction, step.dtype) * step)
            return after.objective - before.objective, after.kl

        taken = self.search(evaluate)
        surrogate.move(taken.fraction, step, self.guard.is_healthy())
        return {
            "kl": taken.divergence,
            "improvement": taken.improvement,
            "step_fraction": taken.fraction,
            "cg_residual": tf.math.divide_no_nan(residual, norm),
            "policy_gradient_norm": norm,
            "entropy": before.entropy,
        }

    def search(self, evaluate):
        """The `natural_gradient.Step` to take.

        Args:
            evaluate: Callable, fraction of the whole step to `(improvement,
                divergence)`.
        """
        if self.line_search:
            settings = self.target_kl, self.backtrack_factor, self.max_backtracks
            return backtracking_line_search(evaluate, *settings)
        whole = tf.ones([])
        measured = evaluate(whole)
        finite = tf.reduce_all(tf.math.is_finite(tf.stack(measured)))
        return Step(*(tf.where(finite, x, 0.0) for x in (whole, *measured)))

    def compute_loss(self, batch, seed):
        """The critic's loss and metrics of an `OnPolicyBatch`, scalars."""
        del seed
        value = self.forward(batch.observation).value
        loss = masked_mean(self.value_loss(value, batch), batch.valid)
        return loss, {"value_loss": loss}
