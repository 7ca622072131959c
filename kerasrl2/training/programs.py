"""Compiled programs that agents of equal structure share within a process."""

from kerasrl2._startup import native_chatter_kept_back

import copy
import threading

import tensorflow as tf

from kerasrl2._private import call_concrete, takes_captured
from kerasrl2.training.interrupts import aside, poll

_KEPT, _BYTES = 16, 64 * 2**20  # cached programs; bytes each may hold
_programs = {}
_lock = threading.Lock()


class Program:
    """A compiled function on the variables of one owner.

    Agents of equal structure need equal programs: a second agent runs the program of
    the first on its own variables, without compiling.

    Args:
        function: `tf.function`, traced if there is no equal program.
        example: Tuple of nests of tensors, arguments with the shapes of later ones.
        state: `State` of everything the function uses.
        key: Hashable, all else that the program depends on; None: it is not shared.

    Raises:
        ValueError: The function uses a variable that is not in `state`, so that no
            checkpoint would hold it.
    """

    def __init__(self, function, example, state, key):
        shared = key is not None
        specs = tf.nest.map_structure(_spec, example)
        key = key, str(specs), state.structure
        found = _programs.get(key) if shared else None
        if found is None or not takes_captured(found.concrete):
            # Concrete: TensorFlow would warn of repeated retracing.
            found = _Traced(function.get_concrete_function(*example), state)
            if shared and found.can_be_shared():
                _keep(key, found)
        self._concrete, self.captured, self._found = found.concrete, None, found
        if takes_captured(found.concrete):
            self.captured = found.captured(state.variables)

    def __call__(self, *arguments):
        tensors = tf.nest.flatten(arguments)
        return call_concrete(self._concrete, tensors, self.captured)

    @property
    def results(self):
        """What a call returns, as a nest of symbolic tensors."""
        return self._concrete.structured_outputs

    def on(self, variables):
        """This program on other variables; None if this TensorFlow cannot.

        Args:
            variables: Dictionary of all names in `state.variables` to `tf.Variable`s of
                the same shapes and dtypes.
        """
        if self.captured is None:
            return None
        other = copy.copy(self)
        other.captured = self._found.captured(variables)
        return other


def compiled_program(function, example, state, key, by_xla):
    """A `Program` that is traced and compiled: it was called once.

    Args:
        function: See `Program`, as `state` and `key`.
        example: Tuple of nests of tensors by which a call does nothing but compile.
        state: `State`.
        key: Hashable or None.
        by_xla: Boolean. XLA compiles for seconds, in which Ctrl-C is answered.

    Returns:
        `Program`.
    """
    with native_chatter_kept_back():
        program = Program(function, example, state, key)
        poll()
        if by_xla:
            aside(lambda: program(*example))
        else:  # in a thread of its own it would take half as long again
            program(*example)
    return program


class _Traced:
    """A concrete function and the names of the variables that it uses."""

    def __init__(self, concrete, state):
        self.concrete = concrete
        self._identities = state.identities
        names = {id(v.handle): name for name, v in state.variables.items()}
        self._uses = []  # names of variables; other tensors themselves
        unknown = []
        for tensor in concrete.captured_inputs:
            name = names.get(id(tensor))
            if name is None and tensor.dtype == tf.resource:
                unknown.append(tensor)
            self._uses.append(tensor if name is None else name)
        self._bytes = sum(
            state.variables[name].dtype.size
            * state.variables[name].shape.num_elements()
            for name in self._uses
            if isinstance(name, str)
        )
        self._unknown = unknown
        _check_declared(concrete, unknown)

    def can_be_shared(self):
        return not self._unknown and self._bytes <= _BYTES

    def captured(self, variables):
        """The captured tensors, with other variables in place of those it captured."""
        return [
            variables[one].handle if isinstance(one, str) else one for one in self._uses
        ]


def _check_declared(concrete, unknown):
    handles = {id(tensor) for tensor in unknown}
    lost = [v for v in concrete.graph.variables if id(v.handle) in handles]
    if lost:
        shown = ", ".join(f"{v.name} {v.dtype.name}{v.shape.as_list()}" for v in lost)
        raise ValueError(
            "Expected all variables that training uses to be attributes of the agent, "
            "of its parts or of the environment: only these are kept in checkpoints. "
            f"Received: {shown}, which is none. Keep it as an attribute."
        )


def _keep(key, made):
    with _lock:
        while len(_programs) >= _KEPT:
            _programs.pop(next(iter(_programs)))
        _programs[key] = made


def _spec(tensor):
    return tf.TensorSpec(tensor.shape, tensor.dtype)
