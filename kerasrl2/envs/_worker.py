"""Program of a process that runs one Gymnasium environment; imports no TensorFlow.

`_subprocess` starts this file with the numbers of an inherited socket and of the parent
process. It receives the parent's module path and a callable that makes the environment,
then commands. It answers the callable and each command once: `(True, value)` or
`(False, (exception, traceback as text))`.
"""

import os
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

import gymnasium
import numpy as np


def serve(connection):
    """Executes commands until it is told to close or the parent has ended."""
    try:
        sys.path[:] = connection.recv()
        env = _make(connection)
        while env is not None:
            command, *arguments = connection.recv()
            _answer(connection, COMMANDS[command], env, *arguments)
            if command == "close":
                return
    except (EOFError, OSError):  # the parent has ended
        os._exit(1)


_ROLES, _MASK = ("observation", "action"), "action_mask"


def _make(connection):
    """The environment, or None if it could not be made."""
    factory, made = connection.recv_bytes(), []

    def make():
        env = ForkingPickler.loads(factory)()
        batched = isinstance(env, gymnasium.vector.VectorEnv)  # EnvPool's are both
        if batched or not isinstance(env, gymnasium.Env):
            raise ValueError(
                f"Expected a `gymnasium.Env`, one environment. Received: {env!r}"
            )
        made.append(env)
        spaces = [getattr(env, f"{role}_space", None) for role in _ROLES]
        return *spaces, _name(env)

    good = _answer(connection, make)
    return made[0] if good else None


def _answer(connection, function, *arguments):
    """Sends what `function` returns or raises; returns whether it returned."""
    try:
        good, answer = True, ForkingPickler.dumps((True, function(*arguments)))
    except BaseException as error:
        good, answer = False, ForkingPickler.dumps((False, _portable(error)))
    connection.send_bytes(answer)
    return good


def _name(env):
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def _reset(env, seed, action_seed):
    env.action_space.seed(action_seed)
    return _with_info(env.reset(seed=seed))


def _step(env, action, keys):
    """`(result of step, (True, result of reset) or (False, exception) or None)`."""
    result = _with_info(env.step(action), keys)
    if not (isinstance(result, tuple) and len(result) == 5 and _ends(*result[2:4])):
        return result, None
    try:
        return result, (True, _with_info(env.reset(seed=None)))
    except Exception as error:
        return result, (False, _portable(error))


def _ends(*flags):
    """Whether a flag is true. The parent reports flags that are not Booleans."""
    arrays = [np.asarray(flag) for flag in flags]
    fit = all(array.shape == () and array.dtype.kind == "b" for array in arrays)
    return fit and any(arrays)


def _with_info(result, keys=()):
    """`result` with the mask of actions, the names in `info` and the values of `keys`.

    Nobody reads the others, and they might not pickle.
    """
    if not isinstance(result, tuple) or len(result) not in (2, 5):
        return result
    info = result[-1] if isinstance(result[-1], dict) else {}
    told = {str(name): info[name] if name in keys else None for name in info if keys}
    if _MASK in info:
        told[_MASK] = info[_MASK]
    return (*result[:-1], told)


def _drawn_reset(env, seed, options):
    """Result of `reset` without what `info` holds, and a picture of the state."""
    return _with_info(env.reset(seed=seed, options=options)), env.render()


def _drawn_step(env, action):
    """The same of `step`; the next episode is not begun."""
    return _with_info(env.step(action)), env.render()


def _close(env):
    env.close()


COMMANDS = {
    "reset": _reset,
    "step": _step,
    "drawn_reset": _drawn_reset,
    "drawn_step": _drawn_step,
    "close": _close,
}


def _portable(error):
    """The exception, or one with its text that can be pickled, and its traceback."""
    text = "".join(traceback.format_exception(error))
    try:
        if not isinstance(error, Exception):  # `SystemExit` must not end the parent
            raise TypeError
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        try:
            message = f"{type(error).__name__}: {error}"
        except Exception:
            message = type(error).__name__
        error = RuntimeError(message)
    return error, text


def _end_with_the_parent(parent):
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    descriptor, parent = map(int, sys.argv[1:])
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # draws without a screen
    watch = threading.Thread(target=_end_with_the_parent, args=[parent], daemon=True)
    watch.start()
    serve(Connection(descriptor))
