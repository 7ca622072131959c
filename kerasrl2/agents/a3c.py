"""Asynchronous advantage actor-critic."""

import keras
import tensorflow as tf

from kerasrl2._checks import check_choice, check_positive_integer
from kerasrl2._control import once
from kerasrl2._seeds import seeds_from
from kerasrl2.agents.actor_critic import ActorCritic
from kerasrl2.agents.learning import Learning
from kerasrl2.agents.optimizing import made_optimizer
from kerasrl2.agents.registry import register
from kerasrl2.distributed.environments import RemoteEnvironments
from kerasrl2.envs.for_workers import WorkerEnvironments, shared_environment
from kerasrl2.envs.registry import is_recipe
from kerasrl2.losses import policy_gradient_loss
from kerasrl2.returns import n_step_returns
from kerasrl2.statistics import explained_variance
from kerasrl2.training.asynchronous import AsynchronousLoop


@register(
    "a3c",
    title="Asynchronous advantage actor-critic",
    quick={"hidden": (8,), "num_envs": 2, "rollout_length": 5, "workers": 1},
    settings="../zoo/a3c.yaml",
)
@keras.saving.register_keras_serializable(package="kerasrl2")
class A3C(ActorCritic):
    """Asynchronous advantage actor-critic.

    Algorithm S3 of Mnih et al. (2016), https://arxiv.org/abs/1602.01783: the loss of
    `A2C`, and several workers that take its steps. Each is a thread with environments
    of its own: it copies the shared weights, plays a rollout, computes gradients on its
    copy, and hands them to the shared optimizer, whose weights others may have changed
    meanwhile. `A3C.for_env` builds network and head.

    `A2C` is faster in this library, since it steps all environments in one compiled
    function. With one worker both are the same, to the bit where XLA is off.

    Args:
        network: Keras model from `[B, ...]` observations to `[parameters, value]`.
        head: Policy head of `kerasrl2.distributions`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        learning_rate: Float or Keras schedule over gradient steps of all workers;
            ignored if an `optimizer` object is given.
        optimizer: Keras optimizer or the name of one, shared by all workers with its
            moments; None makes RMSprop with rho 0.99 and epsilon 1e-5.
        gamma: Float in [0, 1], discount per env step.
        lambda_: Float in [0, 1], decay of generalized advantages; 1 is the n-step
            return to the rollout's end.
        n_step: Integer or None, n-step advantages instead of generalized ones.
        tail: `"bootstrap"` or `"zero"`, what `n_step` does where the rollout ends
            before `n` rewards; see `returns.n_step_returns`.
        value_coefficient: Float, weight of the value loss, `c_v`.
        entropy_coefficient: Float, weight of the entropy, `c_h`.
        normalize_advantages: Boolean, whether to normalise them in each rollout.
        max_gradient_norm: Float or None, global norm to clip gradients to.
        rollout_length: Integer, steps `T` of each environment per push.
        num_envs: Integer, copies of the environment that each worker plays.
        workers: Integer, number of threads.
        lock: Boolean, whether one worker at a time pushes and pulls. Without, some of
            what two push at the same moment may be lost.
        accumulation_steps: Integer, parts in which the gradients of a minibatch are
            computed, one after another, to need less memory; weights are the same.
        observation_normalizer: `layers.RunningNormalization` or None; shared.
        reward_scaling: `layers.RewardScaling` or None; shared.
        seed: Integer, of all random numbers; None draws one.
        xla: `"auto"`, True or False, whether XLA compiles what workers do.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Metrics: `loss`, `policy_loss`, `value_loss`, `entropy` (nats), `gradient_norm`
    (before clipping); with several workers also `worker_0_env_steps`,
    `worker_0_episodes` and so on, in this run.

    Example:
    >>> agent = A3C.for_env("CartPole-v1", workers=2, seed=0)
    >>> history = agent.fit("CartPole-v1", steps=400, epochs=1, verbose=0).history
    >>> history["worker_0_env_steps"][0] + history["worker_1_env_steps"][0]
    400.0
    """

    can_remember = False
    metric_names = ("loss", "policy_loss", "value_loss", "entropy", "gradient_norm")
    loop_class = AsynchronousLoop

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
        tail="bootstrap",
        value_coefficient=0.5,
        entropy_coefficient=0.0,
        normalize_advantages=False,
        max_gradient_norm: float | None = 0.5,
        rollout_length=20,
        num_envs=1,
        workers=4,
        lock=True,
        accumulation_steps=1,
        observation_normalizer=None,
        reward_scaling=None,
        seed=None,
        xla="auto",
        **kwargs,
    ):
        optimizer = made_optimizer(
            optimizer, learning_rate, keras.optimizers.RMSprop, rho=0.99, epsilon=1e-5
        )
        check_positive_integer("workers", workers)
        check_choice("lock", lock, (True, False))
        check_choice("tail", tail, ("bootstrap", "zero"))
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
            accumulation_steps=accumulation_steps,
            max_gradient_norm=max_gradient_norm,
            observation_normalizer=observation_normalizer,
            seed=seed,
            xla=xla,
            **kwargs,
        )
        self.workers, self.lock, self.tail = workers, lock, tail

    @classmethod
    def hyperparameters(cls):
        fixed = {"num_epochs", "batch_size"}  # one step per rollout
        # What workers push are gradients of one loss by one optimizer.
        fixed |= {"critic_optimizer", "critic_learning_rate", "intrinsic_reward"}
        fixed |= {"vtrace", "clip_rho", "clip_c", "sequence_length"}
        return [name for name in super().hyperparameters() if name not in fixed]

    def policy_loss(self, log_prob, advantage, batch):
        del batch
        return policy_gradient_loss(log_prob, advantage), {}

    def advantages(self, rollout, value, next_value):
        if self.n_step is None or self.tail == "bootstrap":
            return super().advantages(rollout, value, next_value)
        discount = self.gamma * (1.0 - tf.cast(rollout.terminated, tf.float32))
        ended = rollout.terminated | rollout.truncated
        target = n_step_returns(
            rollout.reward, discount, ended, next_value, self.n_step, self.tail
        )
        return target - value, target

    # What workers do

    def contribute(self, batch, seed):
        """Gradients of a rollout on a worker's own weights, and further metrics.

        Args:
            batch: `OnPolicyBatch`.
            seed: `[2]` int32.

        Returns:
            `(types.Gradients, metrics)`.
        """
        seeds = seeds_from(seed, 1, 2)  # as `A2C.learn_from` draws them
        explained = explained_variance(batch.value, batch.target, batch.valid)
        gradients = once(lambda: self.compute_gradients(batch, seeds[0, 1]))
        return gradients, {"explained_variance": explained}

    def take_in(self, rollout, learner_state, valid):
        """Updates the shared running statistics with a worker's rollout.

        Args:
            rollout: `Rollout` with observations, rewards and flags.
            learner_state: Of the worker, before the rollout.
            valid: `[T, N]` bool.
        """
        self.scale_reward(rollout, learner_state)
        self.update_statistics(rollout.observation, valid)

    def training_environment(self, env, num_envs):
        """One environment, or one for each worker if they run in Python."""
        if isinstance(env, WorkerEnvironments):
            return env
        made = self.environment(env, num_envs)
        if is_recipe(env):
            return self.multiplied(made, lambda: self.environment(env, num_envs))
        return made

    def multiplied(self, env, make):
        """`env`, or `WorkerEnvironments` of it and others if it runs in Python."""
        if env.in_graph or self.workers == 1:
            return env
        made = [env]
        try:
            made += [make() for _ in range(self.workers - 1)]
            return WorkerEnvironments(made)
        except BaseException:
            for one in made:
                one.close()
            raise

    # Checks

    def loop(self, env):
        for name in ("update", "learn_from"):
            own = getattr(type(self), name)
            if own not in (getattr(Learning, name), getattr(ActorCritic, name)):
                raise ValueError(
                    f"Expected an agent of several workers to learn by "
                    f"`compute_gradients` and `apply_gradients`. Received: "
                    f"{type(self).__name__}, which overrides `{name}`. Override "
                    "`compute_loss` or these two, or derive it from `A2C`."
                )
        count = len(getattr(env, "parts", [env]))
        if isinstance(env, RemoteEnvironments):
            return super().loop(env)
        if count != self.workers and not (count == 1 and env.in_graph):
            raise ValueError(shared_environment(env.id, self.workers))
        return super().loop(env)
