"""The process of a worker: makes a `Player` and answers requests. Knows no Ray."""

import os
import socket
import sys
import time
import traceback
from typing import Any, NamedTuple


class Failure(NamedTuple):
    """An exception in a worker, as plain values: it may not exist elsewhere.

    Attributes:
        kind: `"environment"`, `"argument"` or `"other"`.
        message: String.
        cause: String, name and message of the original exception.
        trace: String, where it was raised.
        at: Index, step and action of an `EnvironmentFailure`, else None.
    """

    kind: str
    message: str
    cause: str
    trace: str
    at: Any = None


class Answer(NamedTuple):
    """What a worker answers.

    Attributes:
        number: Integer, the request's.
        value: What was asked for, or a `Failure`.
        seconds: Float, how long it took.
    """

    number: int
    value: Any
    seconds: float = 0.0


class Host:
    """Lives in a worker's process. Each method answers one request."""

    def __init__(self):
        self._player = None

    def prepare(self, unpack, order):
        """Makes and compiles a player; answers `(versions, node)`.

        Args:
            unpack: Callable from bytes to an `Order`.
            order: Bytes.
        """
        self._hide_devices()
        return self._answered(0, lambda: self._prepare(unpack(order)))

    def _prepare(self, order):
        from kerasrl2.distributed.player import Player
        from kerasrl2.distributed.sending import agent_from, versions
        from kerasrl2.distributed.shares import SharePlayer

        self._set_threads(order.threads)
        make_player = Player
        if order.kind == "shares":
            make_player = SharePlayer
        agent = agent_from(order.agent, order.load, order.custom_objects)
        env = order.make_env()
        self._player = make_player(
            agent, env, order.kind, order.place, order.steps, order.xla
        )
        if self._player.flat.layout != order.layout:
            raise ValueError(
                "Expected the agent of this worker to have the variables of the one "
                f"that learns. Received: {_differences(self._player.flat, order)}"
            )
        self._player.compile()
        return versions(), socket.gethostname()

    def _hide_devices(self):
        """Before TensorFlow is imported: devices are the learner's."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

    def _set_threads(self, threads):
        """One thread more runs operations at a time: one waits for Python."""
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads + 1)

    def play(self, number, vector, env_steps, info_keys=(), begin=None):
        """Plays a block; see `Player.play`. `begin`: a `PlayerState` to go on from."""

        def work():
            if begin is not None:
                self._player.begin(begin)
            return self._player.play(vector, env_steps, info_keys)

        return self._answered(number, work)

    def begin(self, number, state):
        """Goes on from a `PlayerState`; plays nothing."""
        return self._answered(number, lambda: self._player.begin(state))

    def gradients(self, number, vector, share, moments):
        """Gradients of a share of a minibatch; see `SharePlayer.gradients`."""
        return self._answered(
            number, lambda: self._player.gradients(vector, share, moments)
        )

    def pid(self):
        """Integer, of this process."""
        return os.getpid()

    def close(self):
        """Closes the environments."""
        if self._player is not None:
            self._player.env.close()
        return True

    def _answered(self, number, work):
        started = time.perf_counter()
        try:
            value = work()
        except Exception as error:
            value = _failure(error)
        return Answer(number, value, time.perf_counter() - started)


def _failure(error):
    cause = error.__cause__ or error
    known = sys.modules.get("kerasrl2.errors")
    at, kind = None, "argument" if isinstance(error, ValueError) else "other"
    if known is not None and isinstance(error, known.EnvironmentFailure):
        kind = "environment"
        action = error.action
        action = action.tolist() if hasattr(action, "tolist") else action
        at = error.index, error.step, action
    trace = "".join(traceback.format_exception(cause))
    return Failure(kind, str(error), f"{type(cause).__name__}: {cause}", trace, at)


def _differences(flat, order):
    ours, theirs = flat.layout, order.layout
    pairs = zip(ours, theirs, strict=False)
    first = next((pair for pair in pairs if pair[0] != pair[1]), None)
    return f"{len(ours)} of them, not {len(theirs)}; the first other one: {first}"
