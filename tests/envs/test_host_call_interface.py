"""XLA's interface for calls: used if it is the known one, else not at all."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from kerasrl2 import _private
from kerasrl2.envs import GymnasiumEnvironment, _host_call
from kerasrl2.envs._host_call import HostFunction, available

SCALAR = tf.TensorSpec([], tf.int32)


@pytest.fixture
def first_time(monkeypatch):
    """As if nothing had been registered yet in this process."""
    monkeypatch.setattr(_host_call, "_register", _host_call._register.__wrapped__)
    monkeypatch.setattr(_host_call, "_threads", set())
    available.cache_clear()
    yield
    available.cache_clear()


@pytest.mark.usefixtures("first_time")
def test_without_the_interface_environments_are_not_compilable(monkeypatch):
    def missing():
        raise AttributeError("XLA_FFI_GetApi")

    monkeypatch.setattr(_host_call, "_api", missing)
    assert not GymnasiumEnvironment("CartPole-v1").compilable


OTHERS = {
    "struct_size": [0, 80, 184, 200],
    "version.struct_size": [0, 16, 32],
    "version.major": [1, -1],
    "version.minor": [0, 1, 3],
}


@pytest.mark.parametrize(
    ("field", "value"), [(name, x) for name, values in OTHERS.items() for x in values]
)
@pytest.mark.usefixtures("first_time")
def test_another_version_or_size_is_off_before_any_call(field, value, monkeypatch):
    other = _host_call._Api.from_buffer_copy(_host_call._api())
    *outer, name = field.split(".")
    setattr(getattr(other, outer[0]) if outer else other, name, value)
    called = []
    other.register = type(other.register)(called.append)
    monkeypatch.setattr(_host_call, "_api", lambda: other)
    assert not GymnasiumEnvironment("CartPole-v1").compilable
    assert called == []
    with pytest.raises(RuntimeError, match=r"Expected .* Received: "):
        HostFunction(lambda x: (x,), [SCALAR], [SCALAR])


@pytest.mark.usefixtures("first_time")
def test_a_refused_registration_is_off(monkeypatch):
    other = _host_call._Api.from_buffer_copy(_host_call._api())
    other.register = type(other.register)(lambda arguments: 1)
    monkeypatch.setattr(_host_call, "_api", lambda: other)
    assert not available()


class Frame:
    """A call's frame as XLA makes it, with two operands and one result."""

    def __init__(self, number, value):
        values = np.int64(number), np.int32(value), np.int32(0)
        self.arrays = [np.array(x) for x in values]
        self.buffers = [
            sized(_host_call._Buffer(data=x.ctypes.data)) for x in self.arrays
        ]
        self.frame = sized(_host_call._CallFrame())
        self.frame.operands = self.list_of(self.buffers[:2])
        self.frame.results = self.list_of(self.buffers[2:])

    def list_of(self, buffers):
        pointer = ctypes.POINTER(_host_call._Buffer)
        pointers = (pointer * len(buffers))(*map(ctypes.pointer, buffers))
        return sized(_host_call._Buffers(size=len(buffers), buffers=pointers))


def sized(structure):
    structure.struct_size = ctypes.sizeof(structure)
    return structure


@pytest.fixture
def told(monkeypatch):
    """Messages that would be returned to XLA."""
    messages = []
    monkeypatch.setattr(_host_call, "_error", messages.append)
    monkeypatch.setattr(_host_call, "_threads", set())
    return messages


WRONG = {
    "frame": lambda made: made.frame,
    "operands": lambda made: made.frame.operands,
    "results": lambda made: made.frame.results,
    "operand": lambda made: made.buffers[1],
    "result": lambda made: made.buffers[2],
}


@pytest.mark.parametrize("wrong", [None, *WRONG])
def test_calls_with_structures_of_other_sizes_are_errors(wrong, told):
    seen = []

    def function(x):
        seen.append(int(x))
        return (x + 1,)

    host = HostFunction(function, [SCALAR], [SCALAR])
    made = Frame(host._number, 5)
    if wrong:
        WRONG[wrong](made).struct_size += 8
    _host_call._handle(made.frame)
    if wrong:
        assert (len(told), seen, int(made.arrays[2])) == (1, [], 0)
        assert re.match(r"Expected \w+ of \d+ bytes. Received: one of \d+", told[0])
    else:
        assert (told, seen, int(made.arrays[2])) == ([], [5], 6)


@pytest.mark.parametrize("wrong", [None, "frame", "extension", "metadata"])
def test_the_version_is_told_to_the_known_structures_only(wrong, told):
    metadata = _host_call._Metadata(struct_size=36)
    extension = _host_call._MetadataExtension()
    extension.base.struct_size = ctypes.sizeof(extension)
    extension.base.type = 1
    extension.metadata = ctypes.pointer(metadata)
    frame = sized(_host_call._CallFrame())
    frame.extension = ctypes.pointer(extension.base)
    sizes = {"frame": frame, "extension": extension.base, "metadata": metadata}
    if wrong:
        sizes[wrong].struct_size -= 8
    metadata.api_version.minor = 9
    _host_call._handle(frame)
    assert len(told) == bool(wrong)
    assert metadata.api_version.minor == (9 if wrong else 2)


@pytest.mark.usefixtures("first_time")
def test_a_first_call_of_other_sizes_is_off_not_an_error(monkeypatch):
    def differ(frame):
        raise _host_call._Mismatch("CallFrame of 168 bytes", "one of 176")

    monkeypatch.setattr(_host_call, "_check_call", differ)
    assert not available()


@pytest.mark.parametrize("name", ["tells_xla_context", "call_stablehlo"])
@pytest.mark.usefixtures("first_time")
def test_off_where_tensorflow_has_no_means(name, monkeypatch):
    def missing(*_):
        raise ValueError("Op type not registered 'XlaCallModule'")

    missing = missing if name == "call_stablehlo" else lambda: False
    monkeypatch.setattr(_private, name, missing)
    assert not available()


@pytest.mark.parametrize("xla", [True, False])
@pytest.mark.usefixtures("first_time")
def test_asked_for_the_first_time_in_a_graph(xla):
    seen = []

    def program(x):
        seen.append(available())
        return x

    tf.function(program, jit_compile=xla, autograph=False)(1.0)
    assert seen == [True]


@pytest.mark.usefixtures("first_time")
def test_asked_for_the_first_time_while_functions_run_eagerly():
    tf.config.run_functions_eagerly(True)
    try:
        assert available()
    finally:
        tf.config.run_functions_eagerly(False)


C_TYPES = {
    "_Extension": ("Extension_Base", "struct_size type next"),
    "_Version": (
        "Api_Version", "struct_size extension_start major_version minor_version",
    ),
    "_Metadata": ("Metadata", "struct_size api_version traits state_type_id"),
    "_MetadataExtension": ("Metadata_Extension", "extension_base metadata"),
    "_Buffer": ("Buffer", "struct_size extension_start dtype data rank dims"),
    "_Buffers": ("Args", "struct_size extension_start size types args"),
    "_Attributes": ("Attrs", "struct_size extension_start size types names attrs"),
    "_CallFrame": (
        "CallFrame", "struct_size extension_start api ctx stage args rets attrs",
    ),
    "_ErrorArguments": (
        "Error_Create_Args", "struct_size extension_start message errc",
    ),
    "_RegisterArguments": (
        "Handler_Register_Args",
        "struct_size extension_start name platform bundle.instantiate bundle.prepare "
        "bundle.initialize bundle.execute traits",
    ),
    "_Api": (
        "Api",
        "struct_size extension_start api_version internal_api XLA_FFI_Error_Create "
        "XLA_FFI_Error_GetMessage XLA_FFI_Error_Destroy XLA_FFI_Handler_Register "
        "XLA_FFI_Stream_Get",
    ),
}  # fmt: skip


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a compiler of C")
def test_structures_are_those_of_the_header(tmp_path):
    lines, expected = [], []
    for name, (c_name, fields) in C_TYPES.items():
        structure, c_name = getattr(_host_call, name), f"XLA_FFI_{c_name}"
        pairs = zip(structure._fields_, fields.split(), strict=True)
        for (field, *_), c_field in pairs:
            lines.append(f"offsetof({c_name}, {c_field})")
            expected.append(getattr(structure, field).offset)
    for name, c_name in (("_Api", "Api"), ("_CallFrame", "CallFrame")):
        lines.append(f"XLA_FFI_{c_name}_STRUCT_SIZE")
        expected.append(ctypes.sizeof(getattr(_host_call, name)))
    lines += [
        "XLA_FFI_Metadata_STRUCT_SIZE", "XLA_FFI_API_MAJOR", "XLA_FFI_API_MINOR",
        "XLA_FFI_Extension_Metadata", "XLA_FFI_Error_Code_INTERNAL",
    ]  # fmt: skip
    expected += [36, *_host_call._API, _host_call._METADATA, _host_call._INTERNAL]
    prints = "".join(f'printf("%d\\n", (int)({line}));' for line in lines)
    source = tmp_path / "sizes.c"
    source.write_text(
        f"#include <stdio.h>\n#include <xla/ffi/api/c_api.h>\nint main() {{ {prints} }}"
    )
    program = tmp_path / "sizes"
    include = f"-I{tf.sysconfig.get_include()}"
    command = ["cc", include, "-o", program, source]
    subprocess.run(command, check=True, timeout=60)
    result = subprocess.run([program], capture_output=True, check=True, timeout=60)
    seen = [int(number) for number in result.stdout.split()]
    assert dict(zip(lines, seen, strict=True)) == dict(
        zip(lines, expected, strict=True)
    )
