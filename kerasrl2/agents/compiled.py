"""Compiled functions and environments an agent keeps, outside of what is saved."""

from kerasrl2._startup import native_chatter_kept_back

import contextlib
import functools
import json

import keras
import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2.training.evaluate import Evaluator
from kerasrl2.training.loop import has_convolutions

_MAX_COPIES, _MAX_EVALUATORS = 32, 8
_STATEFUL = "optimizer", "buffer"


def compiled_when_eager(act):
    """Compiles a method `act(self, observation, training, seed)` for eager callers.

    Inside a graph the method is traced as it is. Outside, NumPy goes in and comes out,
    a single observation is allowed, and a missing seed is drawn.
    """

    @functools.wraps(act)
    def wrapper(self, observation, training=False, seed=None):
        if tf.inside_function():
            return act(self, observation, training, seed)
        spec = self.observation_spec
        observation = np.asarray(observation, spec.dtype)
        single = observation.ndim == len(spec.shape)
        batch = observation[None] if single else observation
        if batch.shape[1:] != spec.shape:
            raise ValueError(
                f"Expected observations of shape {spec.shape}, or a batch of "
                f"them. Received: {observation.shape}"
            )
        compiled = self._runtime.functions.get((act, training, single))
        if compiled is None:
            compiled = self._runtime.compile_act(self, act, training, single)
        if training:
            seed = self._runtime.next_seed(self) if seed is None else seed
            action = compiled(tf.constant(batch), tf.constant(seed))
        else:
            action = compiled(tf.constant(batch))
        action = action.numpy()
        return action[0] if single else action

    return wrapper


def without_matching(compiled):
    """Calls a concrete function with tensors that are known to fit its signature.

    Matching them again takes a third of the time of a small network's action.
    """
    captured = compiled.captured_inputs

    def call(*tensors):
        return compiled._call_flat(list(tensors), captured)

    return call


def is_recipe(env):
    """Whether environments are made from `env`: an id or a callable."""
    return isinstance(env, str) or callable(env)


class Runtime:
    """What an agent holds while it runs: nothing of this is saved.

    A plain object, so that Keras tracks no environment and no function in it.
    """

    def __init__(self):
        self.functions = {}
        self._policy_network = None
        self._loop = self._loop_key = None
        self._evaluators = {}
        self._numpy_rng = None
        self._shared = None

    @contextlib.contextmanager
    def sharing(self, observation, parameters):
        """Within it `shared_parameters` of this very tensor returns `parameters`."""
        before, self._shared = self._shared, (observation, parameters)
        try:
            yield
        finally:
            self._shared = before

    def shared_parameters(self, observation):
        """Parameters from a pass that is shared, or None if there is none."""
        if self._shared is None or self._shared[0] is not observation:
            return None
        return self._shared[1]

    def policy_network(self, network):
        """The part of a functional network that leads to its first output."""
        if self._policy_network is None or self._policy_network[0] is not network:
            policy = network
            if type(network).__name__ == "Functional":  # not a public class
                policy = keras.Model(network.input, network.outputs[0])
            self._policy_network = network, policy
        return self._policy_network[1]

    def compile_act(self, agent, act, training, single):
        """The compiled `act` for eager callers, made once.

        One observation at a time is worth XLA: the call costs half as much.
        """
        spec = agent.observation_spec
        rows = 1 if single else None
        xla = single and not has_convolutions(agent.network) and agent.xla is not False
        signature = [tf.TensorSpec([rows, *spec.shape], spec.dtype)]
        if training:
            signature.append(tf.TensorSpec([2], tf.int32))

            def function(observation, seed):
                return act(agent, observation, True, seed)
        else:

            def function(observation):
                return act(agent, observation, False, None)

        example = tf.zeros([1, *spec.shape], spec.dtype), tf.constant([0, 0])
        compiled = tf.function(
            function, input_signature=signature, autograph=False, jit_compile=xla
        ).get_concrete_function()
        call = without_matching(compiled)
        with native_chatter_kept_back():
            call(*example[: len(signature)])
        self.functions[act, training, single] = call
        return call

    def next_seed(self, agent):
        """`[2]` int32 NumPy seed of the next eager sampling call."""
        if self._numpy_rng is None:
            self._numpy_rng = np.random.default_rng(agent.seed)
        return self._numpy_rng.integers(0, 2**31, 2, np.int32)

    def loop(self, agent, env, num_envs):
        """The agent's loop on `env`: the last one, if it is the same work."""
        settings = agent.get_config()
        # What has a state counts by identity, below.
        parts = [
            settings.pop(name, None) and getattr(agent, name) for name in _STATEFUL
        ]
        del settings["name"]
        name = env if isinstance(env, str) else id(env)
        key = (name, num_envs, json.dumps(settings, default=str, sort_keys=True))
        key = (*key, *map(id, parts))
        if self._loop is None or key != self._loop_key:
            self.forget_loop()
            self._loop = agent.loop(agent.environment(env, num_envs))
            self._loop_key = key
            self._env = env  # kept alive: its id is in the key
        return self._loop

    def forget_loop(self):
        """Drops the loop; an environment made for it by id or callable is closed."""
        if self._loop is not None and is_recipe(self._env):
            self._loop.env.close()
        self._loop = self._loop_key = None

    def evaluator(self, agent, env, episodes):
        """A compiled evaluator of `episodes` episodes on `env`, kept for later."""
        check_positive_integer("episodes", episodes)
        key = (env if isinstance(env, str) else id(env), episodes)
        if key not in self._evaluators:
            if len(self._evaluators) >= _MAX_EVALUATORS:
                self._evaluators.clear()
            num_envs = min(episodes, _MAX_COPIES) if is_recipe(env) else None
            made = agent.environment(env, num_envs)
            self._evaluators[key] = (Evaluator(made, episodes), env)
        return self._evaluators[key][0]
