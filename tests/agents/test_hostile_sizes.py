"""Files that declare more than they hold, or are damaged: nothing is allocated."""

import itertools
import json
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

import kerasrl2 as krl
from kerasrl2.agents import A2C
from tests.agents.hostile import (
    CONFIG,
    METADATA,
    WEIGHTS,
    find,
    honest,
    pack,
    refused,
    with_config,
    with_weights,
)  # fmt: skip

__all__ = ["honest", "refused"]  # fixtures
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning"),
]

# HDF5


def replaced(**options):
    """Puts another dataset in the place of the first one."""

    def change(weights):
        del weights["vars/0"]
        weights["vars"].create_dataset("0", **options)

    return change


def unallocated(weights):
    space = h5py.h5s.create_simple((2**40,))
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    del weights["vars/0"]
    group = weights["vars"].id
    h5py.h5d.create(group, b"0", h5py.h5t.NATIVE_FLOAT, space, plan)


def external(weights):
    del weights["vars/0"]
    weights["vars/0"] = h5py.ExternalLink("/etc/passwd", "/")


def soft(weights):
    weights["vars/1"] = h5py.SoftLink("/optimizer/vars/0")


def second(weights):
    weights["vars/1"] = weights["optimizer/vars/0"]


def cycle(weights):
    weights["vars/loop"] = weights["/"]


def virtual(weights):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    del weights["vars/0"]
    weights["vars"].create_virtual_dataset("0", layout)


def stored_type(weights):
    weights["vars/type"] = np.dtype("f4")


def attribute(weights):
    weights["vars"].attrs["name"] = np.zeros(5000)


def other_attribute(weights):
    weights["vars/0"].attrs["CLASS"] = "IMAGE"


OUTSIDE = {"external": [("/etc/passwd", 0, 16)], "shape": (4,), "dtype": "f4"}
HDF5 = {
    "chunks": (replaced(shape=(2**36,), dtype="f4", chunks=(2**10,)), "in chunks"),
    "gzip": (replaced(data=np.zeros(2**20), compression="gzip"), "compressed"),
    "no data": (unallocated, r"of shape \(1099511627776,\) without the data"),
    "external link": (external, "a ExternalLink"),
    "soft link": (soft, "a SoftLink"),
    "second link": (second, "a second link"),
    "cycle": (cycle, "a second link"),
    "outside": (replaced(**OUTSIDE), "in another file"),
    "virtual": (virtual, "in another file"),
    "text": (replaced(data="text"), "of type object"),
    "bytes": (replaced(data=np.bytes_("text")), "of type"),
    "records": (replaced(data=np.zeros(2, "i4,f4")), "of type"),
    "references": (replaced(shape=(2,), dtype=h5py.ref_dtype), "of type"),
    "empty": (replaced(data=h5py.Empty("f4")), "without the data"),
    "type": (stored_type, "a stored type"),
    "large attribute": (attribute, "the attribute 'name'"),
    "other attribute": (other_attribute, "the attribute 'CLASS'"),
    "missing": (
        lambda weights: weights["vars"].__delitem__("0"),
        "could not be loaded",
    ),
    "other shape": (replaced(data=np.zeros([3, 3])), "could not be loaded"),
    "optimizer": (
        lambda weights: weights["optimizer/vars"].__delitem__("1"),
        "could not be loaded: .*Skipping variable loading for optimizer",
    ),
}


@pytest.mark.parametrize("name", HDF5)
def test_weights(name, honest, tmp_path, refused):
    make, match = HDF5[name]
    path = with_weights(tmp_path / "agent.keras", honest, make)
    refused(path, match)


def test_other_files_as_weights(honest, tmp_path, refused):
    path = tmp_path / "agent.keras"
    for content in (b"", b"\x89HDF\r\n\x1a\n", b"x" * 5000, honest[WEIGHTS][:3000]):
        pack(path, {**honest, WEIGHTS: content})
        refused(path, "could not be loaded")


# Declared sizes, in a process that cannot take more than a gigabyte


DENSE = "Dense", "FewUnitsDense"


def layers_of(config, kinds=DENSE):
    return itertools.chain.from_iterable(find(config, kind) for kind in kinds)


def units(count, kinds=DENSE):
    def change(config):
        for layer in layers_of(config, kinds):
            layer["config"]["units"], layer["build_config"] = count, None

    return change


def inputs(*shape):
    def change(config):
        for layer in find(config, "InputLayer"):
            layer["config"]["batch_shape"] = [None, *shape]
        for layer in layers_of(config):
            layer["build_config"] = None
        config["config"]["observation_spec"]["config"]["shape"] = list(shape)

    return change


def spec(config):
    config["config"]["observation_spec"]["config"]["shape"] = [2**22, 2**8]
    config["config"]["observation_normalizer"]["build_config"] = None


def instead_of_dense(module, name, inner):
    def change(config):
        dense = next(find(config, "Dense"))
        dense.update(module=module, class_name=name, build_config=None)
        dense["config"] = {**inner, "name": dense["config"]["name"]}

    return change


def wide_and_normalized(config):
    inputs(2**16, 2**16)(config)
    fixed = {"axis": [1, 2], "mean": 0.0, "variance": 1.0}
    instead_of_dense("keras.layers", "Normalization", fixed)(config)


def many_atoms(config):
    config["config"]["head"]["config"]["num_actions"] = 10**12


SIZES = {
    "units": (units(10**9), "`units` of at most 16,777,216"),
    "units of outputs": (units(10**9, DENSE[1:]), "`units` of at most 16,777,216"),
    "units as a float": (units(1e9), "`units` of at most 16,777,216"),
    "wide layers": (units(2**17), "weights are in the file"),
    "input": (inputs(10**9), "of at most 16,777,216"),
    "product": (inputs(2**20, 2**20), "weights are in the file"),
    "spec": (spec, "weights are in the file"),
    "embedding": (
        instead_of_dense(
            "keras.layers", "Embedding", {"input_dim": 10**9, "output_dim": 4}
        ),
        "`input_dim` of at most 16,777,216",
    ),
    "embedding below": (
        instead_of_dense(
            "keras.layers", "Embedding", {"input_dim": 2**24, "output_dim": 2**10}
        ),
        "weights are in the file",
    ),
    "normalization": (wide_and_normalized, "`Normalization` that was adapted"),
    "actions": (many_atoms, "`num_actions` of at most 16,777,216"),
}


def bomb(path, honest):
    """A gigabyte of zeros, deflated."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (CONFIG, METADATA):
            archive.writestr(name, honest[name], zipfile.ZIP_STORED)
        with archive.open(WEIGHTS, "w") as target:
            target.write(honest[WEIGHTS])
            for _ in range(2**10):
                target.write(bytes(2**20))
    return path


LOADER = """
import re, resource, sys, json
import kerasrl2 as krl
import kerasrl2.agents
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, size + 2**30))
for path, match in json.loads(sys.argv[1]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        krl.load_agent(path)
    except ValueError as error:
        assert re.search(match, str(error)), str(error)
    else:
        raise SystemExit(path + " was loaded")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200_000, (path, grown)  # kB
print("all refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_bombs_do_not_go_off(honest, tmp_path):
    files = []
    for name, (change, match) in SIZES.items():
        path = with_config(tmp_path / f"{name}.keras", honest, change)
        files.append((str(path), match))
    files.append((str(bomb(tmp_path / "zip.keras", honest)), "compressed from"))
    for name, (make, match) in HDF5.items():
        path = with_weights(tmp_path / f"{name}.keras", honest, make)
        files.append((str(path), match))
    done = subprocess.run(
        [sys.executable, "-c", LOADER, json.dumps(files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "all refused\n", done.stderr[-2000:]


# Damage


def test_truncation_at_any_place(honest, tmp_path, refused):
    path = pack(tmp_path / "agent.keras", honest)
    content = path.read_bytes()
    for size in [*range(0, 200, 7), *range(200, len(content), len(content) // 40)]:
        path.write_bytes(content[:size])
        refused(path, "not such an archive")
        path.write_bytes(content[size + 1 :])
        refused(path, "could not be loaded|not such an archive")


def loads_or_is_refused(path):
    """Whether it loads; whatever else happens than a `ValueError` is raised."""
    try:
        agent = krl.load_agent(path)
    except ValueError:
        return False
    assert type(agent) is A2C
    return True


def flipped(content, rng, count=1):
    content = bytearray(content)
    for _ in range(count):
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    return bytes(content)


def test_flipped_bits_of_the_file(honest, tmp_path):
    rng = np.random.default_rng(0)
    path = pack(tmp_path / "agent.keras", honest)
    content, loaded = path.read_bytes(), 0
    for _ in range(200):
        path.write_bytes(flipped(content, rng))
        loaded += loads_or_is_refused(path)
    assert loaded < 10  # checksums; what they leave out is dates and the like


@pytest.mark.parametrize("member", [CONFIG, WEIGHTS])
def test_flipped_bits_under_a_right_checksum(member, honest, tmp_path):
    rng = np.random.default_rng(1)
    for count in np.repeat([1, 30], 20):
        content = flipped(honest[member], rng, count)
        path = pack(tmp_path / "agent.keras", {**honest, member: content})
        loads_or_is_refused(path)
