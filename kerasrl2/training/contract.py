"""The members that loops need of agents: protocols, checked when a loop is made."""

import inspect
from typing import Any, Protocol


class Player(Protocol):
    """An agent that acts, as `collect` and evaluation need it.

    Attributes:
        head: Policy head of `kerasrl2.distributions`.

    Example:
    >>> import kerasrl2 as krl
    >>> check_contract(krl.agents.RandomAgent.for_env("CartPole-v1"), Player)
    """

    head: Any

    def initial_state(self, num_envs):
        """The policy's state at the start of episodes, a nest of `[N, ...]`."""

    def forward(self, observation, policy_state, training, seed):
        """`PolicyOutputs` of a batch of observations."""

    def choose(self, outputs, seed, env_steps):
        """Actions of the training loop, in the policy's own coordinates."""

    def greedy(self, outputs):
        """Greedy actions, in the policy's own coordinates."""


class Learner(Player, Protocol):
    """An agent that learns, from any kind of data.

    Attributes:
        network: Keras model; loops use XLA by default unless it has convolutions.
        guard: `Guard`, to which gradient steps report.
        env_steps: Integer variable, env steps played so far.
        report_names: Names of the metrics in a report.
        keeps_states: Boolean, whether a rollout keeps the policy's state before each
            step.

    Example:
    >>> import kerasrl2 as krl
    >>> check_contract(krl.agents.DQN.for_env("CartPole-v1"), Learner)
    """

    network: Any
    guard: Any
    env_steps: Any
    report_names: Any
    keeps_states: Any

    def optimizers(self):
        """Dictionary of names to pairs of an optimizer and the variables it updates."""

    def update(self, batch, seed):
        """One update from a batch: `(metrics, td_error or None)`."""

    def update_statistics(self, observation, valid):
        """Updates running statistics with observations `[T, N, ...]`."""

    def initial_learner_state(self, num_envs):
        """The state of learning at the start of episodes, a nest of `[N, ...]`."""


class OnPolicyLearner(Learner, Protocol):
    """An agent that learns from each rollout right after it was played.

    Attributes:
        rollout_length: Integer, largest number of vector steps of a rollout.
        keeps_outputs: Boolean, whether a rollout keeps the parameters and values of the
            forward passes that chose its actions; None: the loop chooses.
        whole_episodes: Boolean, whether a rollout is one complete episode of each
            environment.
        cuts_episodes: Boolean, whether an episode that is longer may be cut after
            `rollout_length` steps; else it is an error.

    Example:
    >>> import kerasrl2 as krl
    >>> check_contract(krl.agents.PPO.for_env("CartPole-v1"), OnPolicyLearner)
    """

    rollout_length: Any
    keeps_outputs: Any
    whole_episodes: Any
    cuts_episodes: Any

    def prepare(self, rollout, learner_state):
        """`(batch, learner_state)`: the batch for `learn_from` from a `Rollout`."""

    def learn_from(self, batch, seed):
        """`(sums, updates)`: metrics summed over updates, and the number of updates."""


class AsynchronousLearner(OnPolicyLearner, Protocol):
    """An agent that several workers teach, each with a copy of its weights.

    Attributes:
        workers: Integer, number of threads.
        lock: Boolean, whether one worker at a time teaches.

    Example:
    >>> import kerasrl2 as krl
    >>> check_contract(krl.agents.A3C.for_env("CartPole-v1"), AsynchronousLearner)
    """

    workers: Any
    lock: Any

    def contribute(self, batch, seed):
        """`(Gradients, metrics)` of a batch, on a worker's own copy of the weights."""

    def apply_gradients(self, gradients):
        """One step of the shared weights: `(metrics, td_error or None)`."""

    def take_in(self, rollout, learner_state, valid):
        """Updates the shared statistics with a rollout that a worker has played."""


class OffPolicyLearner(Learner, Protocol):
    """An agent that learns from a replay buffer.

    Attributes:
        buffer: Replay buffer.
        batch_size: Integer, transitions of an update.
        train_frequency: Integer, vector steps between updates.
        gradient_steps: Integer, updates made at a time.
        learning_starts: Integer, transitions in the buffer before the first update.
        stored_action: `tf.TensorSpec` of an action as the buffer stores it, or a nest.

    Example:
    >>> import kerasrl2 as krl
    >>> check_contract(krl.agents.DQN.for_env("CartPole-v1"), OffPolicyLearner)
    """

    buffer: Any
    batch_size: Any
    train_frequency: Any
    gradient_steps: Any
    learning_starts: Any
    stored_action: Any

    def stored(self, rollout):
        """The `Rollout` as the buffer stores it."""

    def replayed(self, seed):
        """`(index, batch)` drawn from the buffer, the batch of `update`."""


def check_contract(agent, protocol):
    """Raises `ValueError` unless an agent has all members of a protocol.

    Args:
        agent: `Agent`.
        protocol: One of the classes above.
    """
    for owner in reversed(protocol.__mro__):
        for name in getattr(owner, "__annotations__", {}):
            if not hasattr(agent, name):
                raise _missing(agent, protocol, name)
        for name, method in vars(owner).items():
            if inspect.isfunction(method) and not name.startswith("_"):
                _check_method(agent, protocol, name, method)


def _check_method(agent, protocol, name, method):
    expected = [p for p in inspect.signature(method).parameters if p != "self"]
    call = f"{name}({', '.join(expected)})"
    own_method = getattr(agent, name, None)
    if not callable(own_method):
        raise _missing(agent, protocol, call)
    try:
        received = inspect.signature(own_method)
    except (TypeError, ValueError):  # native code
        return
    try:
        received.bind(*expected)
    except TypeError:
        raise ValueError(
            f"Expected `{call}` of {type(agent).__name__}. Received: "
            f"`{name}{received}`."
        ) from None


def _missing(agent, protocol, what):
    return ValueError(
        f"Expected an agent with `{what}`. Received: {type(agent).__name__}, which has "
        f"none. An agent for this loop has what `training.{protocol.__name__}` lists: "
        "derive it from an agent of the same family, or define what is missing."
    )
