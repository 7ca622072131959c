"""Exceptions of the package."""


class EnvironmentFailure(RuntimeError):
    """An environment raised in `reset` or `step`; the original is its `__cause__`.

    Attributes:
        index: Integer, which of the `N` environments, from 0.
        step: Integer, that environment's step count, over all its episodes.
        action: The action it was given, None in `reset`.

    Example:
    >>> try:
    ...     raise EnvironmentFailure("the arm broke", index=2, step=17, action=1)
    ... except EnvironmentFailure as failure:
    ...     print(failure.index, failure.step, failure.action)
    2 17 1
    """

    def __init__(self, message, index=None, step=None, action=None):
        super().__init__(message)
        self.index, self.step, self.action = index, step, action


class NonFiniteError(ValueError):
    """A NaN or infinite observation, reward, loss or gradient stopped the run.

    Raised before anything is learned from it: the agent in memory is the last good one.

    Example:
    >>> import kerasrl2 as krl
    >>> agent = krl.agents.A2C.for_env("CartPole-v1", seed=0)
    >>> try:
    ...     history = agent.fit("CartPole-v1", steps=80, epochs=1, verbose=0)
    ... except NonFiniteError as error:
    ...     agent.save("last-good-one.keras")
    """


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, read, or does not belong to the run.

    The agent in memory and earlier checkpoints are as they were before.

    Example:
    >>> issubclass(CheckpointError, RuntimeError)
    True
    """
