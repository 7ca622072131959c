"""Members of a population: agents that train in turns and take over others' weights."""

from typing import Any, Protocol

import tensorflow as tf

from kerasrl2._checks import check_positive_integer
from kerasrl2._numbers import number_names
from kerasrl2._private import given_rate
from kerasrl2._state import state_of
from kerasrl2.errors import NonFiniteError

_RATE = "learning_rate"
_OF_CHANCE = "noise_state", "seed_generator_state"  # ends of names of variables


class Member(Protocol):
    """What `Population` needs of a member; it may live in another process.

    Attributes:
        structure: Hashable, equal for members that can take over each other's state.

    Example:
    >>> import numpy as np
    >>> from kerasrl2.populations import Population
    >>> class Walker:  # it learns nothing: its score is how far it has got
    ...     structure = "walker"
    ...     def __init__(self, speed):
    ...         self.numbers, self.way = {"speed": speed}, np.zeros([])
    ...     def train(self, steps):
    ...         self.way = self.way + steps * self.numbers["speed"]
    ...         return float(self.way)
    ...     def get_numbers(self, names):
    ...         return {name: self.numbers[name] for name in names}
    ...     def set_numbers(self, numbers):
    ...         self.numbers.update(numbers)
    ...     def get_state(self, whole=False):
    ...         return {"way": self.way}
    ...     def set_state(self, state):
    ...         self.way = state["way"]
    >>> walkers = [Walker(speed) for speed in (1.0, 2.0, 3.0)]
    >>> history = Population(walkers, {"speed": (1.0, 9.0)}).fit(1, steps=10)
    >>> history.history["score"]
    [[10.0, 20.0, 30.0]]
    """

    structure: Any

    def train(self, steps):
        """Trains for so many steps; returns the score, a float, higher is better."""

    def get_numbers(self, names):
        """Dictionary of names of hyper-parameters to their numbers."""

    def set_numbers(self, numbers):
        """Sets hyper-parameters, from such a dictionary."""

    def get_state(self, whole=False):
        """Dictionary of names to NumPy arrays: what another member copies.

        With `whole` all that a checkpoint needs to go on bit for bit.
        """

    def set_state(self, state):
        """Takes over a result of `get_state`, of another member or of a checkpoint."""


class AgentMember:
    """An agent and the environment that it trains in.

    Another one copies weights, target networks, the state of optimizers, and running
    statistics. What remains its own: seeds, hyper-parameters and learning rates, env
    steps, the replay buffer, and the episodes under way.

    Hyper-parameters are numbers that may change without compiling: the agent's `Number`
    attributes, and `learning_rate`, of several optimizers `actor_learning_rate` and so
    on, as the logs name them.

    Args:
        agent: `Agent`.
        env: Environment id, callable, `gymnasium.Env` or `envs.Environment` to train
            in.
        num_envs: Integer, copies of an `env` given by id or callable; None takes the
            agent's `num_envs`.
        episodes: Integer or None: the score is the mean return of so many greedy
            episodes after training, each time the same ones; None: of the training
            episodes that ended.
        validation_env: As `env`, for these episodes; None takes `env`, which must then
            be an id or a callable.
        score: None, or a callable from the agent and a dictionary of the logs of `fit`
            to a float, which is used instead.

    Attributes:
        failure: None, or the `NonFiniteError` that ended the latest training.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", learning_rate=1e-3, seed=0)
    >>> member = AgentMember(agent, "CartPole-v1")
    >>> member.set_numbers({"learning_rate": 2e-3})
    >>> round(agent.learning_rate, 6)
    0.002
    """

    def __init__(
        self, agent, env, num_envs=None, episodes=None, validation_env=None, score=None
    ):
        if episodes is not None:
            check_positive_integer("episodes", episodes)
        self.agent, self.env, self.num_envs = agent, env, num_envs
        self.episodes, self.score = episodes, score
        self.validation_env = env if validation_env is None else validation_env
        self.failure = None

    @property
    def structure(self):
        """Hashable: agents of equal structure share compiled programs."""
        agent = self.agent
        return state_of(agent=agent, optimizers=agent.optimizers()).structure

    def plan(self, steps):
        """Tells of the env steps of the whole run, for schedules of replay buffers."""
        self.agent.loop_on(self.env, self.num_envs).plan(steps)

    def train(self, steps):
        """Trains for so many env steps; returns the score.

        It is `-inf` where NaN or infinity ended the training, as a bad learning rate
        does: the member keeps its last finite weights.
        """
        agent, self.failure = self.agent, None
        try:
            history = agent.fit(
                self.env, steps, epochs=1, verbose=0, num_envs=self.num_envs
            )
        except NonFiniteError as error:
            self.failure = error
            return float("-inf")
        logs = {name: values[-1] for name, values in history.history.items()}
        if self.score is not None:
            return float(self.score(agent, logs))
        if self.episodes is None:
            return float(logs["return"])
        return float(agent.evaluate(self.validation_env, self.episodes)["return"])

    # Hyper-parameters

    def get_numbers(self, names):
        """Dictionary of names to the numbers that hyper-parameters have now.

        Raises:
            ValueError: The agent has no such hyper-parameter, or it is no number that
                can be changed without compiling.
        """
        return {name: self._number(name) for name in names}

    def set_numbers(self, numbers):
        """Sets hyper-parameters from a dictionary; nothing is compiled."""
        optimizers = self._rates()
        for name, number in numbers.items():
            if name in optimizers:
                optimizers[name].learning_rate = number
            else:
                setattr(self.agent, name, number)

    def _rates(self):
        """Dictionary of names of learning rates to their optimizers."""
        optimizers = self.agent.optimizers()
        several = len(optimizers) > 1
        return {
            f"{name}_{_RATE}" if several else _RATE: optimizer
            for name, (optimizer, _) in optimizers.items()
        }

    def _number(self, name):
        optimizers = self._rates()
        known = {*optimizers, *(number_names(type(self.agent)) - {"seed"})}
        if name in optimizers:
            rate = given_rate(optimizers[name])
            number = float(rate) if hasattr(rate, "value") else None
        else:
            number = getattr(self.agent, name, None) if name in known else None
        if not isinstance(number, int | float):
            received = "none of that name"
            if name in known:
                received = "None or a schedule: begin with a number"
            raise ValueError(
                f"Expected {name!r} as a number of {type(self.agent).__name__} that "
                "can change without compiling anew: one of "
                f"{', '.join(sorted(known))}. Received: {received}."
            )
        return number

    # State

    def get_state(self, whole=False):
        """Dictionary of names to NumPy arrays, see `Member`."""
        return {name: v.numpy() for name, v in self._variables(whole).items()}

    def set_state(self, state):
        """Takes over a result of `get_state`.

        Raises:
            ValueError: It has other variables than this agent.
        """
        variables = self._variables()
        if not state.keys() <= variables.keys():
            variables = self._variables(whole=True)
        check_same_state(state, variables, type(self.agent).__name__)
        for name, value in state.items():
            variables[name].assign(value)

    def _variables(self, whole=False):
        """Dictionary of names to variables."""
        agent = self.agent
        if whole:
            return self.agent.loop_on(self.env, self.num_envs).variables_by_name()
        optimizers = agent.optimizers()
        found = state_of(agent=agent, optimizers=optimizers).variables
        rates = [given_rate(optimizer) for optimizer, _ in optimizers.values()]
        own = {id(getattr(rate, "value", None)) for rate in rates}
        own.add(id(agent.env_steps.value))
        return {
            name: variable
            for name, variable in found.items()
            if id(variable) not in own
            and "/_numbers/" not in name
            and not name.endswith(_OF_CHANCE)
        }


def check_same_state(state, variables, owner):
    """Raises `ValueError` unless arrays fit variables of the same names.

    Args:
        state: Dictionary of names to arrays.
        variables: Dictionary of names to variables or arrays.
        owner: String, whose variables they are, for messages.
    """
    for name in sorted({*state, *variables}):
        pair = [
            "nothing" if name not in part else _shown(part[name])
            for part in (state, variables)
        ]
        if pair[0] != pair[1]:
            raise ValueError(
                f"Expected the state of a member like this {owner}, with {pair[1]} as "
                f"{name!r}. Received: {pair[0]}. Members of a population have equal "
                "networks, optimizers and settings but for numbers."
            )


def _shown(value):
    dtype = tf.as_dtype(value.dtype).name
    return f"{dtype}{list(value.shape)}"
