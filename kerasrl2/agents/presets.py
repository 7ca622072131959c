"""Named combinations of an agent's parts."""

from kerasrl2.agents.dqn import DQN


class Preset:
    """An agent class with other defaults in `for_env`; every one can be overridden.

    Args:
        agent_class: Subclass of `Agent`.
        name: String.
        doc: String, the docstring.
        **settings: Keywords of `agent_class.for_env`.

    Attributes:
        agent_class: What `for_env` makes.
        settings: Dictionary of the other defaults.
    """

    def __init__(self, agent_class, name, doc, **settings):
        self.agent_class, self.settings = agent_class, settings
        self.__name__, self.__doc__ = name, doc

    def for_env(self, env, **hyperparameters):
        """Makes an agent; see `for_env` of `agent_class`."""
        return self.agent_class.for_env(env, **{**self.settings, **hyperparameters})

    def hyperparameters(self):
        """Names of all keywords of the constructor."""
        return self.agent_class.hyperparameters()

    def __repr__(self):
        settings = ", ".join(f"{k}={v!r}" for k, v in self.settings.items())
        return f"{self.__name__}: {self.agent_class.__name__} with {settings}"


Rainbow = Preset(
    DQN,
    "Rainbow",
    """A `DQN` with all its parts, under the name they have together.

    Hessel et al. (2018), https://arxiv.org/abs/1710.02298: double Q-learning,
    prioritized replay, dueling and noisy networks, 3-step returns, C51. Returns (with
    discount) outside `value_range` cannot be told apart: choose it for the environment.
    `Rainbow.for_env` takes the keywords of `DQN.for_env` and returns a `DQN`.

    Example:
    >>> agent = Rainbow.for_env("CartPole-v1", value_range=(0.0, 100.0), seed=0)
    >>> agent.double, agent.buffer.n_step, agent.action_values.num_atoms
    (True, 3, 51)
    """,
    double=True,
    dueling=True,
    noisy=True,
    distribution="categorical",
    prioritized=True,
    alpha=0.5,
    n_step=3,
)
