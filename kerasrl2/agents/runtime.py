"""Compiled functions and environments of an agent, which are not saved."""

from kerasrl2._startup import native_chatter_kept_back

import threading
import weakref

import numpy as np
import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2._state import state_of
from kerasrl2.agents.owned import OwnedEnvironments
from kerasrl2.agents.policies import make_policy
from kerasrl2.agents.reading import reader_of
from kerasrl2.distributed.environments import RemoteEnvironments
from kerasrl2.distributed.learners import learner_of
from kerasrl2.distributed.sending import recipe_of
from kerasrl2.envs.registry import is_recipe
from kerasrl2.training.evaluate import Evaluator
from kerasrl2.training.loop import has_convolutions
from kerasrl2.training.programs import Program

_MAX_COPIES, _MAX_EVALUATORS = 32, 8


class Runtime:
    """Compiled functions, loops and evaluators of an agent.

    A plain object, so that Keras does not track what is in it. Each thread has its own
    loop. Environments made from ids and callables are closed with the loop or the
    evaluator they were made for, by `close`, or when the agent ends.
    """

    def __init__(self):
        self._acting, self._reader, self._policy = {}, None, None
        self._loops = {}  # by thread: key, objects that the key's ids are of, loop
        self._evaluators = {}
        self._numpy_rng = None
        self._owned = OwnedEnvironments()
        weakref.finalize(self, self._owned.close_all)  # which holds no agent
        self._told = []

    # Acting outside of graphs

    def act(self, agent, observation, training, seed, policy_state):
        """`Agent.act` on NumPy arrays, compiled once.

        A single observation is a batch of 1, compiled by XLA: that halves the time.
        """
        if self._reader is None:
            self._reader = reader_of(agent.observation_spec)
        batch, single = self._reader(observation)
        inputs = [tf.constant(array) for array in tf.nest.flatten(batch)]
        if training:
            seed = self._next_seed(agent) if seed is None else seed
            inputs.append(tf.constant(seed, tf.int32))
        if policy_state is not None:
            inputs += map(tf.convert_to_tensor, tf.nest.flatten(policy_state))
        key = type(agent).act, training, single, len(inputs)
        if key not in self._acting:
            if policy_state is None:
                _check_stateless(agent)
            self._acting[key] = self._compiled(agent, inputs, training, single)
        action, state = self._acting[key](*inputs)
        action = action.numpy()[0] if single else action.numpy()
        if policy_state is None or not tf.nest.flatten(policy_state):
            return action
        return action, tf.nest.map_structure(lambda tensor: tensor.numpy(), state)

    def policy(self, agent):
        """`Agent.policy`, made once."""
        if self._policy is None:
            self._policy = make_policy(agent)
        return self._policy

    def forget_acting(self):
        """Drops the functions compiled for acting, after the agent has changed."""
        self._acting, self._reader, self._policy = {}, None, None

    def _compiled(self, agent, inputs, training, single):
        rows = 1 if single else None
        structure, nest = agent.initial_state(1), agent.observation_spec.nest
        entries = len(tf.nest.flatten(nest))

        def function(*given):
            observation = tf.nest.pack_sequence_as(nest, given[:entries])
            rest = given[entries:]
            seed, *state = rest if training else (None, *rest)
            if not state:
                return agent.act(observation, training, seed), ()
            state = tf.nest.pack_sequence_as(structure, state)
            return agent.act(observation, training, seed, state)

        signature = [
            tf.TensorSpec(
                i.shape if j == entries and training else [rows, *i.shape[1:]], i.dtype
            )
            for j, i in enumerate(inputs)
        ]
        xla = single and not has_convolutions(agent.network) and agent.xla is not False
        function = tf.function(
            function, input_signature=signature, autograph=False, jit_compile=xla
        )
        example = [tf.zeros([1, *i.shape[1:]], i.dtype) for i in inputs]
        if training:
            example[entries] = tf.constant([0, 0])
        with native_chatter_kept_back():
            program = Program(
                function, inputs if single else signature,
                state_of(agent=agent), ("act", training, single),
            )  # fmt: skip
            program(*example)
        return program

    def _next_seed(self, agent):
        """`[2]` int32 NumPy seed for the next call outside of graphs."""
        if self._numpy_rng is None:
            self._numpy_rng = np.random.default_rng(agent.seed)
        return self._numpy_rng.integers(0, 2**31, 2, np.int32)

    def is_news(self, what):
        """Whether something is asked about for the first time."""
        if any(what is known for known in self._told):
            return False
        self._told.append(what)
        return True

    # Loops and evaluators

    def loop(self, agent, env, num_envs, workers=None):
        """This thread's loop on `env`; the last one, if nothing has changed."""
        known = self._loops.get(threading.get_ident())
        key, _ = _key(agent, env, num_envs, workers)
        if known is not None and known[0] == key:
            return known[2]
        self.forget_loop()
        if workers is None:
            made = self._owned.make(
                env, lambda: agent.training_environment(env, num_envs)
            )
        else:
            made = self._remote(agent, env, num_envs, workers)
        try:
            loop = agent.loop(made)
        except BaseException:
            self._owned.close(made)
            raise
        # Only now: the loop has built the buffer, which is in the key. So are ids of
        # objects: `env` and `state` keep these alive.
        key, state = _key(agent, env, num_envs, workers)
        self._loops[threading.get_ident()] = key, (env, state), loop
        return loop

    def _remote(self, agent, env, num_envs, workers):
        """The environments of workers; they and their example are owned."""
        env = getattr(env, "parts", [env])[0]  # those of threads
        recipe = recipe_of(env, num_envs)
        local = self._made(agent, env, num_envs)
        joined = learner_of(agent, workers).joined
        try:
            made = RemoteEnvironments(local, recipe, workers, joined)
        except BaseException:
            self._owned.close(local)
            raise
        made.close_local = lambda: self._owned.close(local)
        self._owned.own(made)
        return made

    def forget_loop(self):
        """Drops the loop; an environment made for it by id or callable is closed."""
        known = self._loops.pop(threading.get_ident(), None)
        if known is not None:
            self._owned.close(known[2].env)

    def evaluator(self, agent, env, episodes):
        """A cached `Evaluator` of `episodes` episodes on `env`.

        The least recently used one is dropped, and what was made for it is closed.
        """
        check_positive_integer("episodes", episodes)
        key = (env if isinstance(env, str) else id(env), episodes)
        known = self._evaluators.pop(key, None)
        if known is None:
            while len(self._evaluators) >= _MAX_EVALUATORS:
                oldest = self._evaluators.pop(next(iter(self._evaluators)))
                self._owned.close(oldest[0].env)
            num_envs = min(episodes, _MAX_COPIES) if is_recipe(env) else None
            made = self._made(agent, env, num_envs)
            try:
                known = Evaluator(made, episodes), env  # keeps what the key is an id of
            except BaseException:
                self._owned.close(made)
                raise
        self._evaluators[key] = known
        return known[0]

    def close(self):
        """Drops loops and evaluators; closes all that was made for them."""
        self._loops, self._evaluators = {}, {}
        self._owned.close_all()

    def _made(self, agent, env, num_envs):
        return self._owned.make(env, lambda: agent.environment(env, num_envs))


def _key(agent, env, num_envs, workers):
    """A key that changes when another loop is needed, and the agent's `State`."""
    state = state_of(agent=agent, optimizers=agent.optimizers())
    parts = [id(variable) for variable in state.variables.values()]
    name = env if isinstance(env, str) else id(env)
    return (name, num_envs, workers, state.structure, *parts), state


def _check_stateless(agent):
    if agent.remembers:
        raise ValueError(
            f"Expected `policy_state`: the policy of {type(agent).__name__} remembers. "
            "Received: none. Begin an episode with `agent.initial_state(B)` and give "
            "each call what the one before returned beside the action."
        )
