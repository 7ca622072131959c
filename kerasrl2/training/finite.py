"""Finds NaN and infinity inside compiled loops and reports them outside."""

import tensorflow as tf

from kerasrl2.envs._leaves import subscript
from kerasrl2.errors import NonFiniteError
from kerasrl2.layers.specs import ObservationSpec, entries_of

_NONE, _OBSERVATION, _REWARD, _LOSS, _GRADIENT, _CUT = range(6)
_NAMES = {
    _OBSERVATION: "observation",
    _REWARD: "reward",
    _LOSS: "loss",
    _GRADIENT: "gradient",
}


_ENTRY = 16  # the kind of an observation's entry is `_OBSERVATION` and so much more
_LARGE = 1e6  # of a reward that may be why a loss has overflown


class Guard(tf.Module):
    """Keeps the first report of a NaN or infinity in a block of training.

    Compiled functions report here what they find. After a report no gradient step is
    taken and nothing is stored or counted; the loop ends its block, and
    `raise_if_found` raises the error.
    """

    def __init__(self):
        super().__init__(name="guard")
        # Kind of problem; iteration; step or optimizer; environment.
        self._problem = tf.Variable(_no_problem(), trainable=False, name="problem")
        # Of the largest reward so far: itself, iteration, step, environment. For
        # messages; no checkpoint holds it.
        self.largest_reward = tf.Variable(
            _no_reward(), trainable=False, name="largest_reward"
        )

    def clear(self):
        """Clears the report."""
        self._problem.assign(_no_problem())

    def is_healthy(self):
        """Scalar bool, whether there is no report."""
        return tf.equal(self._problem.read_value()[0], _NONE)

    def problem(self):
        """The report, `[4]` int64, for `report` of another guard."""
        return self._problem.read_value()

    def forget_rewards(self):
        """Forgets the largest reward: another environment will be played."""
        self.largest_reward.assign(_no_reward())

    def report_rollout(self, rollout, iteration):
        """Reports the first non-finite observation or reward; notes the rewards.

        Args:
            rollout: `Rollout` of `T` steps of `N` environments; rows that are not valid
                are ignored.
            iteration: Scalar integer, which rollout of the run this is.
        """
        self.report(_find_in_rollout(rollout, iteration))
        self.note_rewards(rollout, iteration)

    def report_cut(self, unended, iteration):
        """Reports an episode that is longer than a rollout of whole episodes.

        Args:
            unended: `[N]` bool, whose episode had not ended after the last step.
            iteration: Scalar integer, which rollout of the run this is.
        """
        row = [_CUT, tf.cast(iteration, tf.int64), -1, tf.argmax(unended)]
        self.report(tf.where(tf.reduce_any(unended), tf.stack(row), _no_problem()))

    def note_rewards(self, rollout, iteration):
        """Remembers the largest finite reward of a `Rollout`, of either sign.

        Args:
            rollout: `Rollout`.
            iteration: Scalar integer, which rollout of the run this is.
        """
        num_envs = rollout.reward.shape[1]
        good = rollout.valid & tf.math.is_finite(rollout.reward)
        rewards = tf.reshape(tf.where(good, rollout.reward, 0.0), [-1])
        at = tf.argmax(tf.abs(rewards))
        # A slice would make XLA compile anew for each place where it begins.
        row = [tf.gather(rewards, at), iteration, at // num_envs, at % num_envs]
        row = tf.stack([tf.cast(part, tf.float64) for part in row])
        known = self.largest_reward.read_value()
        larger = tf.abs(row[0]) > tf.abs(known[0])
        self.largest_reward.assign(tf.where(larger, row, known))

    def largest(self, steps):
        """`(reward, step, environment)` of the largest reward; steps count from 1.

        Args:
            steps: Integer, vector steps an iteration takes.
        """
        reward, iteration, step, index = self.largest_reward.numpy().tolist()
        return reward, int(iteration * steps + step) + 1, int(index)

    def report(self, problem):
        """Keeps a report, `[4]` int64, unless it is empty or there already is one."""
        first = self._problem.read_value()
        self._problem.assign(tf.where(tf.equal(first[0], _NONE), problem, first))

    def report_step(self, loss, norm, optimizer):
        """Reports a gradient step whose loss or gradient is not finite.

        Args:
            loss: Scalar float.
            norm: Scalar float, global norm of the gradients.
            optimizer: Integer, index among the agent's optimizers.
        """
        kind = tf.where(tf.math.is_finite(norm), _NONE, _GRADIENT)
        kind = tf.where(tf.math.is_finite(loss), kind, _LOSS)
        self.report(tf.stack([tf.cast(kind, tf.int64), -1, optimizer, -1]))

    def report_metrics(self, metrics):
        """Reports a `loss` or `gradient_norm` among metrics that is not finite.

        `Agent.take_step` already reports its own; this is for an `update` of a user
        that does not call it.
        """
        finite = tf.constant(0.0)
        loss, norm = metrics.get("loss", finite), metrics.get("gradient_norm", finite)
        self.report_step(loss, norm, 0)

    def raise_if_found(self, env, iteration, steps, optimizers):
        """Raises `NonFiniteError` if there is a report, and clears it.

        Args:
            env: `Environment` that was played.
            iteration: Integer, iterations of the loop so far.
            steps: Integer, vector steps per iteration.
            optimizers: List of the names of the agent's optimizers.
        """
        kind, found, step, index = (int(value) for value in self._problem.numpy())
        if kind == _NONE:
            return
        self.clear()
        entry, kind = divmod(kind, _ENTRY)
        if kind in (_OBSERVATION, _REWARD):
            raise _played_failure(kind, entry, found * steps + step + 1, index, env)
        if kind == _CUT:
            raise too_long(env.id, f"longer than {steps} steps", steps, index)
        cause = self.largest(steps)
        raise _learned_failure(kind, step, env, iteration, steps, optimizers, cause)


def too_long(env_id, how_long, steps, index=None):
    """The `ValueError` for an episode that does not fit into a rollout.

    Args:
        env_id: String.
        how_long: String, what is known of its length.
        steps: Integer, the agent's `rollout_length`.
        index: Integer or None, which environment.
    """
    which = "" if index is None else f" in environment {index}"
    return ValueError(
        "Expected whole episodes of at most `rollout_length` steps. Received: episodes "
        f"of {env_id!r} {how_long}{which}, and rollout_length={steps}. The return of a "
        "cut one would lack what follows: nothing was learned from it. Raise "
        "`rollout_length`; or let a value estimate the rest, with baseline='value' and "
        "normalize_returns=False; or take episodes to end there: cut_episodes=True."
    )


def _find_in_rollout(rollout, iteration):
    """`[4]` int64 for `Guard.report`: the first non-finite number of a `Rollout`."""
    num_envs = rollout.reward.shape[1]
    kinds = [
        (_OBSERVATION + _ENTRY * entry, finite)
        for entry, finite in _finite_observations(rollout)
    ]
    kinds.append((_REWARD, tf.math.is_finite(rollout.reward)))
    problem = _no_problem()
    for kind, good in reversed(kinds):
        bad = tf.reshape(~good & rollout.valid, [-1])
        first = tf.argmax(bad)
        where = [kind, tf.cast(iteration, tf.int64)]
        row = tf.stack([*where, first // num_envs, first % num_envs])
        problem = tf.where(tf.reduce_any(bad), row, problem)
    return problem


def _no_reward():
    return tf.constant([0.0, 0.0, 0.0, -1.0], tf.float64)


def _no_problem():
    return tf.constant([_NONE, -1, -1, -1], tf.int64)


def _finite_observations(rollout):
    """Yields entries and `[T, N]` bool: whether they are finite before and after.

    An entry is a position among those of nested observations; integers are left out.
    """
    rows = [
        tf.nest.flatten(nest)
        for nest in (
            rollout.observation,
            rollout.next_observation,
            rollout.last_observation,
        )
    ]
    for entry, (now, following, last) in enumerate(zip(*rows, strict=True)):
        if now.dtype.is_floating:
            acted_on = _finite_rows(now)
            after = tf.concat([acted_on[1:], _finite_rows(last[None])], axis=0)
            yield entry, acted_on & _finite_rows(following) & after


def _finite_rows(observation):
    """`[T, N, ...]` to `[T, N]`: whether the whole observation is finite."""
    axes = list(range(2, observation.shape.rank))
    return tf.reduce_all(tf.math.is_finite(observation), axis=axes)


def _played_failure(kind, entry, steps, index, env):
    """The `NonFiniteError` for what an environment returned at a step."""
    what = _NAMES[kind]
    if kind == _OBSERVATION:
        path, _ = entries_of(ObservationSpec.of_space(env.observation_space))[entry]
        what += subscript(*path)
    return NonFiniteError(
        f"Expected finite numbers. Received: a NaN or infinite {what} "
        f"from environment {index} of {env.id!r} at its step {steps} (env step "
        f"{steps * env.num_envs} of the run). Nothing was learned from it. "
        f"Repair the environment, or clip what it returns."
    )


def _learned_failure(kind, step, env, iteration, steps, optimizers, cause):
    """The `NonFiniteError` for a loss or gradient."""
    reward, at, culprit = cause
    why = ""
    if abs(reward) > _LARGE:
        why = (
            f" The largest reward so far was {reward:.3g}, from environment {culprit} "
            f"at its step {at}: scale or clip rewards, for instance with "
            "`normalize_rewards=True` or `gymnasium.wrappers.TransformReward`."
        )
    which = f" of the optimizer {optimizers[step]!r}" if optimizers[1:] else ""
    return NonFiniteError(
        f"Expected finite numbers. Received: a NaN or infinite {_NAMES[kind]}"
        f"{which} while learning from {env.id!r} in iteration {iteration} of the "
        f"loop (env step {iteration * steps * env.num_envs}). The step was not "
        f"taken: the weights are the last good ones. Try a smaller "
        f"`learning_rate`, `max_gradient_norm`, or normalisation.{why}"
    )
