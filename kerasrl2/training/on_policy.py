"""The on-policy loop: collect, estimate advantages, learn, as one compiled function."""

import kerasrl2._startup  # noqa: F401

from typing import Any, NamedTuple

import tensorflow as tf

from kerasrl2.statistics import explained_variance
from kerasrl2.training.episodes import RunningEpisodes, count_episodes, no_episodes
from kerasrl2.training.epochs import run_epochs
from kerasrl2.training.finite import find_in_rollout, is_healthy
from kerasrl2.training.loop import Carry, CompiledLoop
from kerasrl2.types import OnPolicyBatch, Rollout


class LoopState(NamedTuple):
    """What an iteration hands to the next.

    Attributes:
        iteration: Scalar int64, rollouts made so far.
        env_state: Nest of tensors, the environments' own state.
        observation: `[N, ...]`, what to act on next.
        running: `RunningEpisodes`, episodes under way.
        running_reward: `[N]` float32, discounted return of each episode so far, for
            reward scaling.
    """

    iteration: Any
    env_state: Any
    observation: Any
    running: RunningEpisodes
    running_reward: Any


class OnPolicyLoop(CompiledLoop):
    """Runs an actor-critic agent and its environments in one compiled function.

    An iteration collects `T` steps of `N` environments, then makes the agent's epochs
    of minibatch updates from them. XLA compiles whole blocks of iterations, or, if it
    cannot compile the environment, what learns.

    Args:
        agent: An on-policy `Agent`: `explore`, `explore_with_value`,
            `policy_and_value`, `advantages`, `update` and `rollout_length`,
            `num_epochs`, `batch_size`.
        env: `Environment` of `N` copies.
        seed: Integer, of all random numbers of the run.
        jit_compile: `"auto"` (XLA unless the network has convolutions, where plain
            graphs are faster on CPU), True or False.

    Attributes:
        keeps_outputs: Boolean, whether values and policies of a rollout are those of
            the passes that chose its actions. True without XLA, where the networks are
            large; in a program of XLA small ones are faster all steps at once.
    """

    def __init__(self, agent, env, seed, jit_compile="auto"):
        super().__init__(agent, env, seed, jit_compile, agent.rollout_length)
        self.rollout_length = agent.rollout_length
        self.batch_size = agent.batch_size or self.steps_per_iteration
        self.metric_names = (*agent.metric_names, "explained_variance")
        self._check_batch_size()
        self.keeps_outputs = not self.uses_xla
        self._learn = self._learn_from
        if self.uses_xla and not self.whole:
            self._learn = tf.function(
                self._learn_from, jit_compile=True, autograph=False
            )
        self.start()

    def _first_state(self, number):
        env = self.env
        with env.errors():
            env_state, observation = env.reset(tf.stack([self._seed, number]))
        return LoopState(
            iteration=tf.zeros([], tf.int64),
            env_state=env_state,
            observation=observation,
            running=no_episodes(env.num_envs),
            running_reward=tf.zeros([env.num_envs]),
        )

    def _check_batch_size(self):
        rows, size = self.steps_per_iteration, self.batch_size
        if rows % size:
            fitting = [n for n in range(1, rows + 1) if rows % n == 0]
            near = sorted(sorted(fitting, key=lambda n: abs(n - size))[:3])
            raise ValueError(
                f"Expected `batch_size` to divide the rollout of {rows} steps "
                f"({self.env.num_envs} environments x {self.rollout_length}), so that "
                f"no step is dropped. Received: batch_size={size}. Near it: {near}"
            )

    def _iterate(self, carry):
        state = carry.state
        seeds = tf.random.stateless_uniform(
            [2, 2],
            tf.stack([self._seed, tf.cast(state.iteration, tf.int32)]),
            minval=None,
            maxval=None,
            dtype=tf.int32,
            alg="philox",
        )
        env_state, observation, rollout = self._collect(
            state.env_state, state.observation, seeds[0]
        )
        running, running_reward, sums, updates, totals, problem = self._learn(
            rollout,
            observation,
            state.running,
            state.running_reward,
            state.iteration,
            seeds[1],
        )
        state = LoopState(
            state.iteration + 1, env_state, observation, running, running_reward
        )
        sums = tf.stack([sums[name] for name in self.metric_names])
        return Carry(
            state=state,
            sums=carry.sums + tf.cast(sums, tf.float64),
            updates=carry.updates + tf.cast(updates, tf.float64),
            totals=carry.totals + totals,
            problem=problem,
        )

    def _collect(self, env_state, observation, seed):
        """Plays `T` steps; returns the new state, observation and the `Rollout`."""
        num_steps, num_envs = self.rollout_length, self.env.num_envs
        seeds = tf.random.stateless_uniform(
            [num_steps, 2, 2], seed, None, None, tf.int32, alg="philox"
        )
        # Few arrays, since each costs 10 us a step in a graph. Most environments have
        # no rows that are not transitions.
        flags = 3 if self.env.always_valid else 4
        arrays = tuple(
            tf.TensorArray(dtype, num_steps, element_shape=shape)
            for dtype, shape in [
                (tf.float32, [flags, num_envs]),
                (observation.dtype, observation.shape),
                (observation.dtype, observation.shape),
                *self._acted_specs(),
            ]
        )

        def step(t, env_state, observation, arrays):
            env_action, *acted = self._act(observation, seeds[t, 0])
            env_state, after = self.env.step(env_state, env_action, seeds[t, 1])
            signals = [after.reward, after.terminated, after.truncated, after.valid]
            signals = [tf.cast(signal, tf.float32) for signal in signals[:flags]]
            rows = (tf.stack(signals), observation, after.next_observation, *acted)
            arrays = tuple(a.write(t, row) for a, row in zip(arrays, rows, strict=True))
            return t + 1, env_state, after.observation, arrays

        _, env_state, last_observation, arrays = tf.while_loop(
            lambda t, *_: t < num_steps,
            step,
            (0, env_state, observation, arrays),
            parallel_iterations=1,
        )
        signals, observations, following, *acted = (a.stack() for a in arrays)
        rollout = Rollout(
            observations,
            acted[0],
            reward=signals[:, 0],
            terminated=signals[:, 1] > 0.0,
            truncated=signals[:, 2] > 0.0,
            valid=signals[:, 3] > 0.0
            if flags == 4
            else tf.ones([num_steps, num_envs], tf.bool),
            next_observation=following,
            parameters=acted[1] if self.keeps_outputs else None,
            value=acted[2] if self.keeps_outputs else None,
        )
        return env_state, last_observation, rollout

    def _acted_specs(self):
        """`(dtype, shape)` of all that `_act` returns but the environment's action."""
        head, num_envs = self.agent.head, self.env.num_envs
        specs = [(head.action_dtype, [num_envs, *head.action_shape])]
        if self.keeps_outputs:
            specs += [(tf.float32, [num_envs, head.num_parameters])]
            specs += [(tf.float32, [num_envs])]
        return specs

    def _act(self, observation, seed):
        """`(env_action, action)`, with `keeps_outputs` also `parameters, value`."""
        if self.keeps_outputs:
            return self.agent.explore_with_value(observation, seed)
        return self.agent.explore(observation, seed)

    def _learn_from(
        self, rollout, last_observation, running, running_reward, iteration, seed
    ):
        """Learns from a `Rollout`, unless it holds a NaN."""
        agent = self.agent
        problem = find_in_rollout(rollout, last_observation, iteration)
        running, totals = count_episodes(rollout, running)
        usable = rollout.valid & is_healthy(problem)
        reward, running_reward = agent.scale_reward(rollout, running_reward, usable)
        batch = self._prepare(rollout._replace(reward=reward), last_observation)
        explained = explained_variance(batch.value, batch.target, batch.valid)
        sums, updates, problem = run_epochs(
            agent, batch, self.batch_size, problem, iteration, seed
        )
        agent.observe(rollout.observation, usable)
        sums["explained_variance"] = explained * updates
        return running, running_reward, sums, updates, totals, problem

    def _prepare(self, rollout, last_observation):
        """Values, advantages and log-probabilities of a rollout, in large batches."""
        agent = self.agent
        rows, num_envs = self.steps_per_iteration, self.env.num_envs
        shape = rollout.reward.shape

        def flat(tensor):
            return tf.reshape(tensor, [rows, *tensor.shape[2:]])

        def values(observation):
            return agent.policy_and_value(observation)[1]

        observation, action = flat(rollout.observation), flat(rollout.action)
        if rollout.value is None:
            parameters, value = agent.policy_and_value(observation)
            value = tf.reshape(value, shape)
        else:
            parameters, value = flat(rollout.parameters), rollout.value
        log_prob = agent.head.log_prob(parameters, action)
        last_value = tf.reshape(values(last_observation), [1, num_envs])
        following = tf.concat([value[1:], last_value], axis=0)
        # The successor is what was acted on next, unless the episode was cut there.
        next_value = tf.cond(
            tf.reduce_any(rollout.truncated),
            lambda: tf.where(
                rollout.truncated,
                tf.reshape(values(flat(rollout.next_observation)), shape),
                following,
            ),
            lambda: following,
        )
        advantage, target = agent.advantages(rollout, value, next_value)
        return OnPolicyBatch(
            observation=observation,
            action=action,
            log_prob=log_prob,
            value=flat(value),
            advantage=flat(advantage),
            target=flat(target),
            valid=flat(rollout.valid),
        )
