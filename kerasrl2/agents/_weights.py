"""Checks of the weights file of a saved agent, and a bound on its variables."""

import contextlib
import math

import h5py
import tensorflow as tf

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ATTRIBUTES = {"dtype", "name"}
_ATTRIBUTE_BYTES = 2**10
_SPARE_BYTES = 16 * 2**20  # random states and counters that are not saved
_COPIES = 4  # some objects are made more than once, for instance optimizers


def check_weights(path):
    """Raises unless an HDF5 file holds nothing but complete plain arrays.

    Keras writes arrays uncompressed and contiguous, so that the declared sizes can be
    compared with the size of the file. No array is read.

    Args:
        path: `pathlib.Path` of a local file.

    Returns:
        Integer, bytes of all arrays.

    Raises:
        ValueError: It holds links, or arrays that are external, compressed or forged.
        OSError, RuntimeError, KeyError: The file is damaged.
    """
    with path.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            raise ValueError(
                "expected an HDF5 file as model.weights.h5. Received: other content. "
                "The file is damaged or forged."
            )
    size, total, seen = path.stat().st_size, 0, set()
    with h5py.File(path, "r") as file:
        groups = [file]
        while groups:
            group = groups.pop()
            for name in group:
                item = _hard_linked(group, name, seen)
                _check_attributes(item)
                if isinstance(item, h5py.Group):
                    groups.append(item)
                else:
                    total += _bytes_stored(item)
        if total > size:
            raise _refusal("arrays", f"{total:,} bytes in a file of {size:,}")
    return total


@contextlib.contextmanager
def variables_bounded(stored):
    """A context in which TensorFlow makes no more variables than the file can fill.

    The size of a variable is checked before its memory is allocated.

    Args:
        stored: Integer, bytes of the file's arrays.

    Yields:
        List that receives a message if the bound is exceeded.
    """
    bound, declared, messages = _COPIES * stored + _SPARE_BYTES, 0, []

    def create(next_creator, **kwargs):
        nonlocal declared
        declared += _bytes_wanted(kwargs.get("initial_value"))
        if declared > bound:
            messages.append(
                f"expected layers whose weights are in the file, {stored:,} bytes. "
                f"Received: a configuration that needs {declared:,} or more. The file "
                "is damaged or forged."
            )
            raise ValueError(messages[-1])
        return next_creator(**kwargs)

    with tf.variable_creator_scope(create):
        yield messages


def _hard_linked(group, name, seen):
    """The group or dataset of this name, which must have no other link."""
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise _refusal(name, f"a {type(link).__name__}")
    address = h5py.h5o.get_info(group.id, name.encode()).addr
    item = group[name]
    if address in seen or not isinstance(item, h5py.Group | h5py.Dataset):
        raise _refusal(name, "a second link to something, or a stored type")
    seen.add(address)
    return item


def _check_attributes(item):
    for name in item.attrs:
        attribute = h5py.h5a.open(item.id, name.encode())
        if name not in _ATTRIBUTES or attribute.get_storage_size() > _ATTRIBUTE_BYTES:
            raise _refusal(item.name, f"with the attribute {name!r:.60}")


def _bytes_stored(dataset):
    """Bytes of a dataset, which must be contiguous plain numbers."""
    plan = dataset.id.get_create_plist()
    if dataset.is_virtual or dataset.external:
        raise _refusal(dataset.name, "stored in another file")
    contiguous = plan.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
    if plan.get_nfilters() or not contiguous:
        raise _refusal(dataset.name, "compressed or in chunks")
    dtype, bfloat16 = dataset.dtype, dataset.attrs.get("dtype") == "bfloat16"
    if dtype.kind not in "bfiu" and not (bfloat16 and dtype.itemsize == 2):
        raise _refusal(dataset.name, f"of type {str(dtype)[:60]}")
    shape = dataset.shape
    declared = None if shape is None else math.prod(shape) * dtype.itemsize
    if declared is None or dataset.id.get_storage_size() != declared:
        raise _refusal(dataset.name, f"of shape {shape} without the data")
    return declared


def _bytes_wanted(initial_value):
    """Bytes of a variable with a given initial value, or function that makes it."""
    if callable(initial_value):
        trace = tf.function(initial_value, autograph=False).get_concrete_function()
        initial_value = trace.structured_outputs
    shape = getattr(initial_value, "shape", ())
    dtype = tf.as_dtype(getattr(initial_value, "dtype", "float64"))
    return (tf.TensorShape(shape).num_elements() or 0) * dtype.size


def _refusal(name, received):
    return ValueError(
        f"expected plain arrays in model.weights.h5. Received: {name[:60]!r} "
        f"{received}. The file is damaged or forged."
    )
