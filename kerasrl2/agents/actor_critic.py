"""Base class of actor-critic agents."""

import tensorflow as tf
from keras import ops

from kerasrl2._checks import check_positive_integer
from kerasrl2._numbers import FINITE, Number
from kerasrl2.agents import intrinsic
from kerasrl2.agents.actor_critic_builder import ActorCriticBuilder
from kerasrl2.agents.agent import Agent
from kerasrl2.agents.planning import keep_minibatches, on_policy_updates
from kerasrl2.losses import value_loss
from kerasrl2.returns import generalized_advantages, n_step_returns
from kerasrl2.statistics import explained_variance, masked_mean, masked_moments
from kerasrl2.training.minibatches import run_epochs
from kerasrl2.training.on_policy import OnPolicyLoop
from kerasrl2.training.recurrence import (
    exchanged,
    resets_of,
    successor_values,
    unroll_batch,
)
from kerasrl2.types import OnPolicyBatch, PolicyOutputs


class ActorCritic(ActorCriticBuilder, Agent):
    """Base class of agents with a policy and a value that learn from rollouts.

    `loss = mean(policy loss) + c_v * mean(value loss) - c_h * mean(entropy)`; a
    subclass defines `policy_loss`. The network maps observations to
    `[parameters, value]`: `[B, P]` for the policy head and `[B]` or `[B, 1]`.

    A recurrent policy overrides `initial_state` and `forward`. The rows of a minibatch
    are then whole environments, and gradients flow back through the rollout.

    Args:
        network: Keras model from `[B, ...]` observations to `[parameters, value]`.
        head: Policy head of `kerasrl2.distributions`.
        observation_spec: `ObservationSpec`, or None to infer it from the network.
        optimizer: Keras optimizer.
        gamma: Float in [0, 1], discount per env step.
        lambda_: Float in [0, 1], decay of generalized advantages.
        n_step: Integer or None, n-step advantages instead of generalized ones.
        value_coefficient: Float, weight of the value loss, `c_v`.
        entropy_coefficient: Float, weight of the entropy, `c_h`.
        normalize_advantages: Boolean, whether to normalise them in each minibatch.
        num_epochs: Integer, passes over each rollout.
        batch_size: Integer, steps per minibatch; must divide the rollout. None takes
            the whole rollout.
        rollout_length: Integer, steps `T` of each environment per rollout.
        num_envs: Integer, copies of an environment given to `fit` as id or callable.
        reward_scaling: `layers.RewardScaling` or None.
        intrinsic_reward: `layers.RandomNetworkDistillation` or None; with it the
            network has a third output, the value of the intrinsic rewards.
        **kwargs: Keywords of `Agent`.
    """

    loop_class = OnPolicyLoop

    gamma = Number(0.0, 1.0)
    lambda_ = Number(0.0, 1.0)
    value_coefficient = Number(**FINITE)
    entropy_coefficient = Number(**FINITE)

    def __init__(
        self,
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
        num_epochs,
        batch_size,
        rollout_length,
        num_envs,
        reward_scaling,
        intrinsic_reward=None,
        **kwargs,
    ):
        super().__init__(network, head, observation_spec, optimizer, **kwargs)
        self.gamma, self.lambda_, self.n_step = gamma, lambda_, n_step
        self.value_coefficient = value_coefficient
        self.entropy_coefficient = entropy_coefficient
        self.normalize_advantages = normalize_advantages
        self.num_epochs, self.batch_size = num_epochs, batch_size
        self.rollout_length, self.num_envs = rollout_length, num_envs
        self.reward_scaling = reward_scaling
        if reward_scaling is not None and not reward_scaling.built:
            reward_scaling.build(())
        self.intrinsic_reward = intrinsic.built_for(self, intrinsic_reward)
        self.metric_names = (*self.metric_names, *intrinsic.of_updates(self))
        for name in ("rollout_length", "num_epochs", "num_envs"):
            check_positive_integer(name, getattr(self, name))
        for name in ("batch_size", "n_step"):
            if getattr(self, name) is not None:
                check_positive_integer(name, getattr(self, name))

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        scaling = vars(self).get("reward_scaling")
        if name == "gamma" and scaling is not None:
            scaling.gamma = value

    @classmethod
    def planned_updates(cls, settings, steps):
        """Gradient steps of `steps` env steps; see `planning.on_policy_updates`."""
        return on_policy_updates(settings, steps)

    @classmethod
    def adapt_settings(cls, settings, tuned, overrides):
        """Settings for another rollout size; see `planning.keep_minibatches`."""
        return keep_minibatches(settings, tuned, overrides)

    # Acting

    def forward(self, observation, policy_state=(), training=False, seed=None):
        del seed
        parameters, *values = self(observation, training=training)
        # Each may be [B, 1]; a second one is that of intrinsic rewards.
        values = [tf.reshape(tf.cast(value, tf.float32), [-1]) for value in values]
        parameters = self.masked(tf.cast(parameters, tf.float32), observation)
        return PolicyOutputs(parameters, values[0], policy_state, *values[1:])

    def policy_outputs(self, observation):
        parameters, value, *_ = self.network(observation)
        if len(value.shape) == 2:
            value = ops.squeeze(value, axis=-1)
        named = {"parameters": parameters, "value": value}
        return {name: ops.cast(tensor, "float32") for name, tensor in named.items()}

    @property
    def remembers(self):
        """Whether the policy is recurrent: has a state."""
        return bool(tf.nest.flatten(self.initial_state(1)))

    @property
    def keeps_outputs(self):
        """True for a recurrent policy, else None: the loop chooses."""
        return True if self.remembers else None

    # Learning

    @property
    def report_names(self):
        own = "explained_variance", *intrinsic.of_rollouts(self)
        return (*super().report_names, *own)

    def initial_learner_state(self, num_envs):
        """Discounted returns so far, `[N]` float32, for scaling; those of a bonus."""
        returns = tf.zeros([num_envs]) if self.reward_scaling is not None else ()
        return intrinsic.first_state(self, num_envs, returns)

    def prepare(self, rollout, learner_state):
        """Computes values, advantages and log-probabilities of a rollout.

        Args:
            rollout: `Rollout`, `[T, N, ...]`.
            learner_state: From `initial_learner_state` or the rollout before.

        Returns:
            `(batch, learner_state)`: an `OnPolicyBatch` of all steps.
        """
        if self.intrinsic_reward is not None:
            learner_state, of_bonus = learner_state
        reward, learner_state = self.scale_reward(rollout, learner_state)
        rollout = rollout._replace(reward=reward)
        rows = exchanged if self.remembers else _flat
        observation, action = tf.nest.map_structure(
            rows, (rollout.observation, rollout.action)
        )
        if rollout.value is None:
            parameters, value, *_ = self.forward(observation)
            value = tf.reshape(value, reward.shape)
        else:
            parameters, value = rows(rollout.parameters), rollout.value
        next_value = self.next_values(rollout, value)
        advantage, target = self.advantages(rollout, value, next_value)
        batch = OnPolicyBatch(
            observation=observation,
            action=action,
            log_prob=self.head.log_prob(parameters, action),
            value=rows(value),
            advantage=rows(advantage),
            target=rows(target),
            valid=rows(rollout.valid),
            resets=rows(resets_of(rollout)) if self.remembers else (),
            policy_state=rollout.policy_state,
        )
        if self.intrinsic_reward is not None:
            return intrinsic.with_bonus(self, rollout, batch, learner_state, of_bonus)
        return batch, learner_state

    def next_values(self, rollout, value):
        """`[T, N]` float32, values of the true successors of a rollout's steps.

        The successor is the next observation of the rollout, unless the episode was
        truncated.

        Args:
            rollout: `Rollout`.
            value: `[T, N]` float32, values of `rollout.observation`.
        """
        last = self.forward(rollout.last_observation, rollout.last_policy_state).value
        following = tf.concat([value[1:], last[None]], axis=0)

        def of_successors():
            if self.remembers:
                return successor_values(self, rollout)
            flat = tf.nest.map_structure(_flat, rollout.next_observation)
            return tf.reshape(self.forward(flat).value, value.shape)

        return tf.cond(
            tf.reduce_any(rollout.truncated),
            lambda: tf.where(rollout.truncated, of_successors(), following),
            lambda: following,
        )

    def advantages(self, rollout, value, next_value):
        """Advantages and value targets, both `[T, N]`.

        Generalized advantage estimation with `lambda_`, or with `n_step` the n-step
        return minus the value.

        Args:
            rollout: `Rollout` with scaled rewards.
            value: `[T, N]` float32, `V(s_t)`.
            next_value: `[T, N]` float32, `V` of the true successor of step `t`.
        """
        discount = self.gamma * (1.0 - tf.cast(rollout.terminated, tf.float32))
        steps = rollout.reward, discount, rollout.terminated | rollout.truncated
        if self.n_step is not None:
            target = n_step_returns(*steps, next_value, self.n_step)
            return target - value, target
        advantage = generalized_advantages(*steps, value, next_value, self.lambda_)
        return advantage, advantage + value

    def scale_reward(self, rollout, running):
        """Scaled rewards `[T, N]` and the discounted returns so far, `[N]`."""
        reward = tf.where(rollout.valid, rollout.reward, 0.0)
        if self.reward_scaling is None:
            return reward, running
        ended = rollout.terminated | rollout.truncated
        valid = rollout.valid & self.guard.is_healthy()
        running = self.reward_scaling.update(reward, ended, running, valid)
        return self.reward_scaling(reward), running

    def learn(self, batch, seed):
        """`num_epochs` passes of minibatches over a batch, in random order.

        Args:
            batch: `OnPolicyBatch`.
            seed: `[2]` int32.

        Returns:
            `(sums, updates)`: metrics summed over updates, and the number of updates.
        """
        rows, steps = batch.log_prob.shape[0], batch.log_prob.shape.num_elements()
        size = rows if self.batch_size is None else self.batch_size * rows // steps
        bonus = self.intrinsic_reward is not None
        skipped = bonus and intrinsic.is_not_primed(self)
        sums, updates = run_epochs(self, batch, self.num_epochs, size, seed, skipped)
        explained = explained_variance(batch.value, batch.target, batch.valid)
        means = {"explained_variance": explained}
        means |= intrinsic.report(self, batch) if bonus else {}
        summed = {k: tf.math.multiply_no_nan(v, updates) for k, v in means.items()}
        return {**sums, **summed}, updates

    def update_statistics(self, observation, valid):
        super().update_statistics(observation, valid)
        if self.intrinsic_reward is not None:
            intrinsic.update_statistics(self, observation, valid)

    def should_stop(self, metrics):
        """Whether to skip the remaining minibatches of this rollout, scalar bool.

        Args:
            metrics: Dictionary of scalars, of the latest minibatch.
        """
        del metrics
        return tf.constant(False)

    def outputs_of(self, batch):
        """`PolicyOutputs` of the steps of a batch, `[...]`, for the loss."""
        if self.remembers:
            return unroll_batch(self, batch)
        return self.forward(batch.observation, training=True)

    def compute_loss(self, batch, seed):
        """Loss and metrics of an `OnPolicyBatch`, scalars."""
        parameters, value, *_ = outputs = self.outputs_of(batch)
        log_prob = self.head.log_prob(parameters, batch.action)
        advantage = batch.advantage
        if self.normalize_advantages:
            advantage = self.normalized_advantages(advantage, batch.valid)
        policy_loss, more = self.policy_loss(log_prob, advantage, batch)
        policy_loss = masked_mean(policy_loss, batch.valid)
        critic_loss = masked_mean(self.value_loss(value, batch), batch.valid)
        entropy = masked_mean(self.head.entropy(parameters), batch.valid)
        loss = (
            policy_loss
            + self.value_coefficient * critic_loss
            - self.entropy_coefficient * entropy
        )
        if self.intrinsic_reward is not None:
            of_bonus, metrics = intrinsic.loss(self, outputs, batch, seed)
            loss, more = loss + of_bonus, {**more, **metrics}
        own = {"policy_loss": policy_loss, "value_loss": critic_loss}
        return loss, {**own, "entropy": entropy, **more}

    def policy_loss(self, log_prob, advantage, batch):
        """Loss of the policy.

        Args:
            log_prob: `[...]` float32, nats, of the batch's actions under the current
                policy. Receives the gradient.
            advantage: `[...]` float32.
            batch: `OnPolicyBatch`.

        Returns:
            `(loss, metrics)`: `[...]` float32, and a dictionary of further scalars.
        """
        raise NotImplementedError

    def value_loss(self, value, batch):
        """Loss of the value, `[...]` float32: half the squared error."""
        return value_loss(value, batch.target)

    def normalized_advantages(self, advantage, valid):
        """Advantages with mean 0 and standard deviation 1 over the minibatch."""
        if advantage.shape.num_elements() == 1:
            return advantage
        moments = masked_moments(advantage, valid, feature_rank=0)
        return (advantage - moments.mean) / (ops.sqrt(moments.variance) + 1e-8)

    # Checks

    def loop(self, env):
        self._check_batch_size(env)
        return super().loop(env)

    def _check_batch_size(self, env):
        """Raises unless minibatches divide the rollout, so that no step is dropped."""
        size, unit = self.batch_size, self.rollout_length if self.remembers else 1
        rows = env.num_envs * self.rollout_length
        if size is None or (rows % size == 0 and size % unit == 0):
            return
        fitting = [n for n in range(unit, rows + 1, unit) if rows % n == 0]
        near = sorted(sorted(fitting, key=lambda n: abs(n - size))[:3])
        whole = (
            ", in whole environments: the policy remembers" if self.remembers else ""
        )
        raise ValueError(
            f"Expected `batch_size` to divide the rollout of {rows} steps "
            f"({env.num_envs} environments x {self.rollout_length}), so that "
            f"no step is dropped{whole}. Received: batch_size={size}. Near it: {near}"
        )

    def _check_network(self):
        super()._check_network()
        outputs = intrinsic.checked_outputs(self, self.symbolic_outputs())
        shapes = [tuple(output.shape) for output in outputs]
        if len(shapes) != 2 or shapes[1][1:] not in ((), (1,)):
            raise ValueError(
                f"Expected a network with two outputs, parameters [B, "
                f"{self.head.num_parameters}] and value [B] or [B, 1]. "
                f"Received: {shapes}"
            )


def _flat(tensor):
    """`[T, N, ...]` to `[T * N, ...]`."""
    return tf.reshape(tensor, [tensor.shape[0] * tensor.shape[1], *tensor.shape[2:]])
