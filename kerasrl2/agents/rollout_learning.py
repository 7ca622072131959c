"""How actor-critic agents learn from a rollout: a batch of it, and passes over that."""

import functools

import tensorflow as tf

from kerasrl2._seeds import seeds_from
from kerasrl2.agents import intrinsic
from kerasrl2.agents.stale_rollouts import corrected, evaluated, mean_rho
from kerasrl2.permutations import random_permutation
from kerasrl2.returns import generalized_advantages, n_step_returns
from kerasrl2.statistics import explained_variance
from kerasrl2.training.metrics import reported_metrics, update_names
from kerasrl2.training.recurrence import (
    first_states,
    flat,
    pieces,
    resets_of,
    successor_values,
)
from kerasrl2.types import OnPolicyBatch


class RolloutLearning:
    """Mixin of actor-critic agents: values, advantages and targets of a rollout."""

    @property
    def keeps_outputs(self):
        """True for a recurrent policy and V-trace, else None: the loop chooses."""
        return True if self.remembers or self.vtrace else None

    @property
    def keeps_states(self):
        """Whether a rollout keeps the policy's states: those that pieces begin with."""
        return self.remembers and self.sequence_length is not None

    def initial_learner_state(self, num_envs):
        """Discounted returns so far, `[N]` float32, for reward scaling."""
        returns = tf.zeros([num_envs]) if self.reward_scaling is not None else ()
        if self.intrinsic_reward is None:
            return returns
        return intrinsic.first_state(self, num_envs, returns)

    def prepare(self, rollout, learner_state):
        """Computes values, advantages and log-probabilities of a rollout.

        Args:
            rollout: `Rollout`, `[T, N, ...]`.
            learner_state: From `initial_learner_state` or the rollout before.

        Returns:
            `(batch, learner_state)`: an `OnPolicyBatch` of all steps.
        """
        curious = self.intrinsic_reward is not None
        if curious:
            learner_state, of_bonus = learner_state
        reward, learner_state = self.scale_reward(rollout, learner_state)
        rollout = rollout._replace(reward=reward)
        rows = functools.partial(pieces, length=self.piece) if self.remembers else flat
        observation, action = tf.nest.map_structure(
            rows, (rollout.observation, rollout.action)
        )
        rollout, acted = evaluated(self, rollout) if self.vtrace else (rollout, None)
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
            parameters=parameters if self.needs_parameters else (),
            behaviour_log_prob=() if acted is None else rows(acted),
            policy_state=first_states(self, rollout) if self.remembers else (),
        )
        if curious:
            return intrinsic.with_bonus(self, rollout, batch, learner_state, of_bonus)
        return batch, learner_state

    @property
    def piece(self):
        """Integer, steps of a row of a minibatch: a sequence, of which it is a part."""
        if not self.remembers:
            return 1
        return self.sequence_length or self.rollout_length

    def learn_from(self, batch, seed):
        """`num_epochs` passes of minibatches over a batch, in random order.

        Args:
            batch: `OnPolicyBatch`.
            seed: `[2]` int32.

        Returns:
            `(sums, updates)`: metrics summed over updates, and the number of updates.
        """
        rows, steps = batch.log_prob.shape[0], batch.log_prob.shape.num_elements()
        size = rows if self.batch_size is None else self.batch_size * rows // steps
        curious = self.intrinsic_reward is not None
        skipped = intrinsic.is_not_primed(self) if curious else False
        sums, updates = run_epochs(self, batch, self.num_epochs, size, seed, skipped)
        explained = explained_variance(batch.value, batch.target, batch.valid)
        once = {"explained_variance": explained}
        once |= {"rho": mean_rho(batch, self.clip_rho)} if self.vtrace else {}
        once |= self.adapt_penalty(batch) if self.needs_parameters else {}
        once |= intrinsic.report(self, batch) if curious else {}
        summed = {k: tf.math.multiply_no_nan(x, updates) for k, x in once.items()}
        return {**sums, **summed}, updates

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
            following = tf.nest.map_structure(flat, rollout.next_observation)
            return tf.reshape(self.forward(following).value, value.shape)

        return tf.cond(
            tf.reduce_any(rollout.truncated),
            lambda: tf.where(rollout.truncated, of_successors(), following),
            lambda: following,
        )

    def advantages(self, rollout, value, next_value):
        """Advantages and value targets, both `[T, N]`.

        Generalized advantage estimation with `lambda_`, or with `n_step` the n-step
        return minus the value, or V-trace with `lambda_` and the rollout's `log_ratio`.

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
        if self.vtrace:
            return corrected(self, rollout.log_ratio, *steps, value, next_value)
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


def run_epochs(agent, batch, num_epochs, batch_size, seed, skipped=False):
    """Updates an agent with minibatches of a batch, in several passes.

    Ends early if `agent.guard` has a report or `agent.should_stop` returns True.

    Args:
        agent: On-policy `Agent`.
        batch: Nest of tensors `[rows, ...]`.
        num_epochs: Integer, number of passes, each in a new random order.
        batch_size: Integer, rows per minibatch; must divide `rows`. Every row is in one
            minibatch of each pass.
        seed: `[2]` int32.
        skipped: Boolean or scalar bool tensor, whether to make no update at all.

    Returns:
        `(sums, updates)`: dictionary of metrics summed over updates, and the number of
        updates.
    """
    rows = tf.nest.flatten(batch)[0].shape[0]
    seeds = seeds_from(seed, num_epochs, 2)

    def learn(minibatch, seed, loop):
        sums, updates, _ = loop
        metrics, _ = agent.update(minibatch, seed)
        new = reported_metrics(metrics, agent)
        sums = {name: total + new[name] for name, total in sums.items()}
        return sums, updates + 1.0, agent.should_stop(metrics)

    def goes_on(loop):
        return agent.guard.is_healthy() & ~loop[2]

    def epoch(e, loop):
        if batch_size == rows:
            return e + 1, learn(batch, seeds[e, 1], loop)
        order, seed = random_permutation(rows, seeds[e, 0]), seeds[e, 1]

        def step(start, loop):
            chosen = tf.slice(order, [start], [batch_size])
            minibatch = tf.nest.map_structure(lambda x: tf.gather(x, chosen), batch)
            loop = learn(minibatch, seed + tf.stack([0, start]), loop)
            return start + batch_size, loop

        return e + 1, tf.while_loop(
            lambda start, loop: (start < rows) & goes_on(loop), step, (0, loop)
        )[1]

    sums = {name: tf.zeros([]) for name in update_names(agent)}
    _, (sums, updates, _) = tf.while_loop(
        lambda e, loop: (e < num_epochs) & goes_on(loop),
        epoch,
        (0, (sums, tf.zeros([]), tf.convert_to_tensor(skipped))),
        parallel_iterations=1,
    )
    return dict(sums), updates
