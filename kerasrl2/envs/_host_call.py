"""Python functions that programs compiled by XLA call on the CPU.

XLA calls a C function through its Foreign Function Interface, whose binary layout is
public and stable (`xla/ffi/api/c_api.h`, among TensorFlow's headers). One C function,
made by `ctypes`, serves all: the first operand is the number of the Python function. A
call takes about 5 us; `tf.numpy_function`, which XLA cannot compile, takes ten times as
long.

The structures below follow one version of the interface. If TensorFlow has another
version, or structures of other sizes, no call is made: `available()` is False.
"""

from kerasrl2._startup import native_chatter_kept_back

import ctypes
import functools
import itertools
import sys
import threading
import weakref
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerasrl2 import _private

_NAME, _PLATFORM = b"kerasrl2_host_call", b"Host"
_METADATA, _INTERNAL = 1, 13  # of XLA_FFI_Extension_Type, XLA_FFI_Error_Code
_API = 0, 2  # the version of the interface that the structures below follow

_functions = weakref.WeakValueDictionary()
_numbers = itertools.count()
_threads = set()


class HostFunction:
    """A Python function on NumPy arrays as an operation in programs of XLA.

    Args:
        function: Callable of arrays, which it may keep, that returns as many arrays as
            `outputs` has. It must not raise: XLA would abort the program and leave the
            variables that it writes in an undefined state.
        inputs: Sequence of `tf.TensorSpec` with static shapes.
        outputs: The same.
    """

    def __init__(self, function, inputs, outputs):
        self.function = function
        self._inputs, self._outputs = map(_layouts, (inputs, outputs))
        self._specs, self._number = tuple(outputs), next(_numbers)
        self._module = _module(inputs, outputs)
        _functions[self._number] = self
        _register()

    def __call__(self, *tensors):
        """Adds the operation, inside a `tf.function` with `jit_compile=True`."""
        number = tf.constant(self._number, tf.int64)
        operands = [number, *tensors]
        return tuple(_private.call_stablehlo(operands, self._module, self._specs))

    def run(self, operands, results):
        """Calls the function on `XLA_FFI_Buffer`s."""
        inputs = [
            _array(*pair).copy() for pair in zip(operands, self._inputs, strict=True)
        ]
        outputs = self.function(*inputs)
        for value, *pair in zip(outputs, results, self._outputs, strict=True):
            _array(*pair)[...] = value


@functools.cache
def available():
    """Whether XLA's programs run on the CPU and can call Python; tried out once."""
    if tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"):
        return False
    if not _private.tells_xla_context():
        return False  # environments could not tell when they are compiled by XLA
    try:
        return _try()
    except (OSError, AttributeError, RuntimeError, ValueError, tf.errors.OpError):
        return False


def _try():
    """Whether a small program passes numbers to a function and back."""
    spec, seen = tf.TensorSpec([2], tf.int32), []

    def function(array):
        seen.append(array.tolist())
        return (array[::-1],)

    call = HostFunction(function, [spec], [spec])
    with tf.init_scope(), native_chatter_kept_back():
        program = tf.function(
            lambda array: call(array)[0], [spec], autograph=False, jit_compile=True
        )
        # Concrete: `tf.config.run_functions_eagerly` would run it without XLA.
        program = program.get_concrete_function()
        result = program(tf.constant([3, 5])).numpy().tolist()
    return (seen, result) == ([[3, 5]], [5, 3])


def _layouts(specs):
    """List of `(shape, dtype, C type of the memory)` of arrays."""
    return [
        (
            tuple(spec.shape),
            spec.dtype.as_numpy_dtype,
            ctypes.c_char * (spec.dtype.size * spec.shape.num_elements()),
        )
        for spec in specs
    ]


def _array(buffer, layout):
    """An array on XLA's memory."""
    shape, dtype, memory = layout
    return np.ndarray(shape, dtype, memory.from_address(buffer.contents.data or 0))


def _module(inputs, outputs):
    """A StableHLO program that only makes the call."""
    number = tf.TensorSpec([], tf.int64)
    operands = [_type(spec) for spec in (number, *inputs)]
    results = [_type(spec) for spec in outputs]
    names = [f"%a{i}" for i in range(len(operands))]
    arguments = ", ".join(map(": ".join, zip(names, operands, strict=True)))
    values = ", ".join(f"%r#{i}" for i in range(len(results)))
    values = values if len(results) > 1 else "%r"
    types = f"({', '.join(results)})"
    return f"""module {{
      func.func public @main({arguments}) -> {types} {{
        %r:{len(results)} = stablehlo.custom_call @{_NAME.decode()}({", ".join(names)})
          {{api_version = 4 : i32, has_side_effect = true}}
          : ({", ".join(operands)}) -> {types}
        return {values} : {", ".join(results)}
      }}
    }}"""


def _type(spec):
    """A tensor's type in StableHLO."""
    kind = "i1" if spec.dtype == tf.bool else spec.dtype.name
    for name, short in (("uint", "ui"), ("int", "i"), ("bfloat", "bf"), ("float", "f")):
        kind = kind.replace(name, short)
    return f"tensor<{''.join(f'{n}x' for n in spec.shape)}{kind}>"


# The interface. `c_void_p` are pointers that are not used here.


class _Extension(Structure):
    _fields_ = [("struct_size", c_size_t), ("type", c_int), ("next", c_void_p)]


class _Version(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("extension", c_void_p),
        ("major", c_int),
        ("minor", c_int),
    ]


class _Metadata(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("api_version", _Version),
        ("traits", ctypes.c_uint32),
        ("state_type_id", c_int64),
    ]


class _MetadataExtension(Structure):
    _fields_ = [("base", _Extension), ("metadata", POINTER(_Metadata))]


class _Buffer(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("extension", c_void_p),
        ("dtype", c_int),
        ("data", c_void_p),
        ("rank", c_int64),
        ("dims", c_void_p),
    ]


class _Buffers(Structure):
    """`XLA_FFI_Args` and `XLA_FFI_Rets`."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("extension", c_void_p),
        ("size", c_int64),
        ("types", c_void_p),
        ("buffers", POINTER(POINTER(_Buffer))),
    ]


class _Attributes(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("extension", c_void_p),
        ("size", c_int64),
        ("types", c_void_p),
        ("names", c_void_p),
        ("values", c_void_p),
    ]


class _CallFrame(Structure):  # without the `future` that `struct_size` leaves out
    _fields_ = [
        ("struct_size", c_size_t),
        ("extension", POINTER(_Extension)),
        ("api", c_void_p),
        ("context", c_void_p),
        ("stage", c_int),
        ("operands", _Buffers),
        ("results", _Buffers),
        ("attributes", _Attributes),
    ]


_Handler = ctypes.CFUNCTYPE(c_void_p, POINTER(_CallFrame))


class _Bytes(Structure):
    _fields_ = [("ptr", c_char_p), ("len", c_size_t)]


class _ErrorArguments(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("extension", c_void_p),
        ("message", c_char_p),
        ("code", c_int),
    ]


class _RegisterArguments(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("extension", c_void_p),
        ("name", _Bytes),
        ("platform", _Bytes),
        ("instantiate", c_void_p),
        ("prepare", c_void_p),
        ("initialize", c_void_p),
        ("execute", _Handler),
        ("traits", ctypes.c_uint32),
    ]


class _Api(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("extension", c_void_p),
        ("version", _Version),
        ("internal", c_void_p),
        ("create_error", ctypes.CFUNCTYPE(c_void_p, POINTER(_ErrorArguments))),
        ("get_message", c_void_p),
        ("destroy_error", c_void_p),
        ("register", ctypes.CFUNCTYPE(c_void_p, POINTER(_RegisterArguments))),
        ("others", c_void_p * 14),
    ]


def _check_size(structure, expected=None):
    """Raises unless XLA's structure has the size of the one in this file."""
    expected = expected or ctypes.sizeof(structure)
    if structure.struct_size != expected:
        name = type(structure).__name__[1:]
        received = f"one of {structure.struct_size} bytes"
        raise _Mismatch(f"{name} of {expected} bytes", received)


class _Mismatch(RuntimeError):
    """XLA's interface is not the one this file was written for."""

    def __init__(self, expected, received):
        super().__init__(
            f"Expected {expected}. Received: {received}. With TensorFlow "
            f"{tf.__version__} programs of XLA cannot call Python: compile without XLA."
        )


@_Handler
def _handle(frame):
    """Called by XLA: once for the version, then for each call of a program."""
    try:
        frame = frame.contents
        if frame.extension and frame.extension.contents.type == _METADATA:
            return _tell_version(frame)
        operands, results = frame.operands, frame.results
        if threading.get_ident() not in _threads:
            _check_call(frame)
            # Else each call makes and drops a Python thread state: 20 us.
            ctypes.pythonapi.PyGILState_Ensure()
            _threads.add(threading.get_ident())
        first = operands.buffers[0].contents
        number = c_int64.from_address(first.data).value
        _functions[number].run(
            operands.buffers[1 : operands.size], results.buffers[: results.size]
        )
    except _Mismatch as error:
        return _error(str(error))
    except BaseException as error:  # nothing may leave a C function
        sys.unraisablehook(_unraisable(error))
        return _error(f"{type(error).__name__}: {error}")
    return None


def _tell_version(frame):
    """Tells XLA the version of the interface, which it asks for before any call."""
    query = ctypes.cast(frame.extension, POINTER(_MetadataExtension)).contents
    metadata = query.metadata.contents
    _check_size(frame)
    _check_size(query.base, ctypes.sizeof(query))
    last = _Metadata.traits  # the last field that XLA counts
    _check_size(metadata, last.offset + last.size)
    metadata.api_version.major, metadata.api_version.minor = _API


def _check_call(frame):
    _check_size(frame)
    for buffers in (frame.operands, frame.results):
        _check_size(buffers)
        for buffer in buffers.buffers[: buffers.size]:
            _check_size(buffer.contents)


def _unraisable(error):
    fields = type(error), error, error.__traceback__, None, _handle
    return type("Unraisable", (), dict(zip(_UNRAISABLE, fields, strict=True)))


_UNRAISABLE = "exc_type", "exc_value", "exc_traceback", "err_msg", "object"


def _error(message):
    arguments = _ErrorArguments(code=_INTERNAL, message=message.encode())
    arguments.struct_size = ctypes.sizeof(arguments)
    return _api().create_error(ctypes.byref(arguments))


@functools.cache
def _register():
    """Registers the C function with XLA, once per process."""
    _check_api(_api())
    arguments = _RegisterArguments(
        struct_size=ctypes.sizeof(_RegisterArguments),
        name=_Bytes(_NAME, len(_NAME)),
        platform=_Bytes(_PLATFORM, len(_PLATFORM)),
        execute=_handle,
    )
    if _api().register(ctypes.byref(arguments)):
        raise RuntimeError("XLA refuses the version of its interface used here.")


def _check_api(api):
    """Raises unless the interface has the version and sizes of this file."""
    _check_size(api)
    _check_size(api.version)
    if (api.version.major, api.version.minor) != _API:
        received = api.version.major, api.version.minor
        raise _Mismatch(f"XLA's interface of version {_API}", received)


@functools.cache
def _api():
    """The interface of the XLA inside TensorFlow."""
    pattern = "*tensorflow_framework*"
    (library,) = sorted(Path(tf.sysconfig.get_lib()).glob(pattern))[:1] or [pattern]
    get = ctypes.CDLL(str(library)).XLA_FFI_GetApi
    get.restype = POINTER(_Api)
    return get().contents
