"""Gymnasium environments in separate processes, which may hang or die."""

import contextlib
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import gymnasium
from gymnasium.vector.utils import CloudpickleWrapper

from kerasrl2.envs._lockstep import Lockstep
from kerasrl2.envs._spaces import check_equal_spaces
from kerasrl2.envs._wrapping import wrapped

_PROGRAM = Path(__file__).with_name("_worker.py")
_PATIENCE = 5.0  # seconds for `close`


class LostError(RuntimeError):
    """A process ended or did not answer in time."""


class RemoteError(Exception):
    """Holds the traceback of an exception in another process, as its `__cause__`."""


class RemoteEnv:
    """One `gymnasium.Env` in a separate process.

    Slow commands are sent by one call and their results fetched by another, so that
    several environments run in parallel.

    Args:
        factory: Callable without arguments that returns a new `gymnasium.Env`.
        time_limit: Float, seconds for an answer, or None.
    """

    def __init__(self, factory, time_limit):
        self.time_limit, self._asked, self._deadline = time_limit, 0, None
        self._restarted = None  # result of the `reset` after the last `step`
        self._connection, other = multiprocessing.Pipe()
        with other:
            self.process = subprocess.Popen(
                [sys.executable, "-P", _PROGRAM, str(other.fileno()), str(os.getpid())],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C goes to the parent process only
            )
        self.kill = weakref.finalize(self, _kill, self.process, self._connection)
        self._send(sys.path)
        self._send(CloudpickleWrapper(factory))
        self._asked = 1

    def wait_until_made(self):
        """Waits, without a limit, until the environment exists; fetches its spaces."""
        self.observation_space, self.action_space, self.name = self.answer()

    def ask(self, command, *arguments):
        """Sends a command, such as `"step"`; `step` or `reset` fetches its result."""
        self._deadline = None
        if self.time_limit is not None:
            self._deadline = time.monotonic() + self.time_limit
        self._send((command, *arguments))
        self._asked, self._restarted = self._asked + 1, None

    def step(self, action):
        """Result of `step` in the process; call `ask("step", action)` before."""
        result, self._restarted = self.answer()
        return result

    def reset(self, *, seed=None):
        """Result of `reset`: asked for, or made after the last step of an episode."""
        if self._restarted is None:
            return self.answer()
        (good, value), self._restarted = self._restarted, None
        return value if good else _raise(*value)

    def close(self):
        """Closes the environment and ends its process in any case."""
        try:
            if self.process.poll() is None and self.kill.alive:
                self.time_limit = min(self.time_limit or _PATIENCE, _PATIENCE)
                self.ask("close")
                self.answer()
        except LostError:
            pass
        finally:
            self.kill()

    def _send(self, message):
        """Sends a message. If the process has ended, `answer` raises, not this."""
        try:
            with contextlib.suppress(OSError):
                self._connection.send(message)
        except BaseException:  # the message may be half sent: no other can follow
            self.kill()
            raise

    def answer(self):
        """The latest answer. Older ones, left over from a failure, are dropped."""
        while self._asked:
            good, value = self._receive()
            self._asked -= 1
        return value if good else _raise(*value)

    def _receive(self):
        left = None
        if self._deadline is not None:
            left = max(0.0, self._deadline - time.monotonic())
        try:
            if self._connection.poll(left):
                return self._connection.recv()
        except (EOFError, OSError):
            raise LostError(
                f"Expected an answer. Received: the end of its process "
                f"({_manner(self.process)}). Look for what crashes it: native code, "
                "memory, `os._exit`."
            ) from None
        except BaseException:  # an interrupt: the answer may be half received
            self.kill()
            raise
        raise LostError(
            f"Expected an answer within time_limit={self.time_limit} seconds. "
            "Received: none. All processes were ended. Fix what hangs, or give a "
            "larger `time_limit`."
        )


class ProcessLockstep(Lockstep):
    """`Lockstep` of environments in separate processes, stepped in parallel.

    If a process hangs or ends, all of them are ended, and only `close` may follow.

    Args:
        env: String or callable, as for `GymnasiumEnvironment`.
        num_envs: Integer, `N`.
        time_limit: Float, seconds a step or a reset of all may take, or None.
        kwargs: Dictionary, keywords for making an environment.
        wrappers: List, as for `GymnasiumEnvironment`.
    """

    def __init__(self, env, num_envs, time_limit, kwargs, wrappers=()):
        if os.name != "posix":
            raise ValueError(
                "Expected Linux or macOS for `subprocess=True`. "
                f"Received: {sys.platform}. Leave it out."
            )
        remote, factory = [], wrapped(factory_of(env, kwargs), wrappers)
        try:
            remote += [RemoteEnv(factory, time_limit) for _ in range(num_envs)]
            for env_process in remote:
                env_process.wait_until_made()
            check_equal_spaces(remote)
            super().__init__(env if isinstance(env, str) else remote[0].name, remote)
        except BaseException:
            for env_process in remote:
                env_process.kill()
            raise

    def _try_reset(self, env):
        env.ask("reset", 0, 0)
        return super()._try_reset(env)

    def _begin_reset(self, env, seed, action_seed):
        super()._begin_reset(env, seed, action_seed)
        env.ask("reset", seed, action_seed)

    def _begin_steps(self, actions):
        for env, action in zip(self.envs, actions, strict=True):
            env.ask("step", action, self.info_keys)

    def _what(self, error):
        if not isinstance(error, LostError):
            return super()._what(error)
        for env in self.envs:
            env.kill()
        self.closed = True
        return f"was lost: {error}"


def factory_of(env, kwargs):
    """Callable that makes an environment, also in a process that has no such id."""
    if not isinstance(env, str):
        return functools.partial(env, **kwargs)
    kwargs = {"disable_env_checker": True, **kwargs}
    return functools.partial(gymnasium.make, gymnasium.registry.get(env, env), **kwargs)


def _raise(error, text):
    raise error from RemoteError(f"\n{text}")


def _kill(process, connection):
    connection.close()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # and its own child processes
    process.wait()


def _manner(process):
    """How a process ended, in words."""
    try:
        code = process.wait(1.0)
    except subprocess.TimeoutExpired:
        return "still ending"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
