"""What actor-critic agents learn from: batches made of rollouts."""

import functools

import tensorflow as tf

from kerasrl2.agents import intrinsic
from kerasrl2.agents.stale_rollouts import corrected, evaluated
from kerasrl2.returns import generalized_advantages, n_step_returns
from kerasrl2.training.recurrence import flat, pieces, resets_of, successor_values
from kerasrl2.types import OnPolicyBatch


class RolloutBatches:
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
            policy_state=self._first_states(rollout),
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

    def _first_states(self, rollout):
        """The policy's states before the first steps of all pieces of a rollout."""
        if not self.keeps_states:
            return rollout.policy_state
        return tf.nest.map_structure(
            lambda leaf: flat(leaf[:: self.piece]), rollout.policy_states
        )

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
