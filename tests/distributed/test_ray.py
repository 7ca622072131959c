"""Workers as processes, over Ray: faults, sockets, ends. One Ray for all."""

import functools
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import kerasrl2 as krl
from kerasrl2.distributed import Workers
from kerasrl2.distributed.pool import check_versions
from kerasrl2.distributed.sending import versions
from tests.distributed.killing import (
    ENV,
    TWO,
    check_counts,
    dqn,
    kill_at_random,
    pids,
)
from tests.distributed.stopping import StopAfter
from tests.distributed.worlds import World

# Not `importorskip`: Ray must not be imported before it is set to loopback.
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no Ray"),
    pytest.mark.usefixtures("ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return status != "Z"


def gone(found, seconds=5.0):
    until = time.monotonic() + seconds
    while any(map(alive, found)) and time.monotonic() < until:
        time.sleep(0.05)
    return [pid for pid in found if alive(pid)]


def run_until_replaced(loop, seconds):
    """Runs until the end of a worker is seen, within so many seconds."""
    before = time.monotonic()
    while not any(loop.pool.generations):
        loop.run(1)
        assert time.monotonic() - before < seconds


class TestRun:
    def test_from_first_to_last(self, ray):
        """Counts, sockets on loopback, a worker killed, a second fit, the end."""
        agent = dqn()
        history = agent.fit(ENV, steps=640, epochs=2, verbose=0, workers=TWO).history
        assert history["env_steps"] == [320, 640]
        check_counts(agent)
        loop = agent.loop_on(ENV, workers=TWO)
        assert listening_elsewhere() == []
        found = pids(loop)
        os.kill(found[0], signal.SIGKILL)
        with pytest.warns(RuntimeWarning, match="Worker 0 of 2"):
            run_until_replaced(loop, seconds=2.0)
        check_counts(agent)
        assert loop.pool.generations == [1, 0]
        found += pids(loop)
        agent.close()
        assert gone(found) == []

    def test_an_exception_names_worker_environment_step_and_action(self):
        make = functools.partial(World, fails_at=7)
        agent = dqn(make)
        with pytest.raises(krl.errors.EnvironmentFailure, match="locked") as caught:
            agent.fit(make, steps=640, verbose=0, workers=TWO)
        error = caught.value
        assert "In worker " in str(error)
        assert error.step == 7
        assert error.action in (0, 1)
        assert error.index in (0, 1)
        assert "the door is locked" in str(error.__cause__)

    def test_a_worker_that_hangs_is_replaced(self, tmp_path):
        flag = str(tmp_path / "hung")
        make = functools.partial(World, hangs_at=80, flag=flag)
        agent = dqn(make)
        workers = Workers(1, cpus=0.4, block=16, time_limit=10.0)
        with pytest.warns(RuntimeWarning, match="has not answered for"):
            agent.fit(make, steps=1280, epochs=1, verbose=0, workers=workers)
        check_counts(agent)
        agent.close()

    def test_info_is_sent(self):
        agent = dqn(World)
        history = agent.fit(
            World, steps=640, epochs=1, verbose=0, workers=TWO, info_keys=["steps"]
        ).history
        assert history["steps"][0] > 20
        assert history["return"] == [20.0]
        agent.close()


def listening_elsewhere():
    """Addresses of Ray's sockets that others can reach."""
    lines = subprocess.run(
        ["ss", "-Hltnp"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = []
    for line in lines:
        address, rest = line.split()[3], line
        ours = any(name in rest for name in ("ray", "gcs_server", "python"))
        if ours and not address.startswith(("127.", "[::1]", "[::ffff:127.")):
            found.append(line)
    return found


class TestBadInput:
    def test_more_workers_than_processors(self):
        with pytest.raises(ValueError, match=r"Expected at most .* workers"):
            dqn().fit(ENV, steps=100, workers=64)

    def test_what_cannot_be_sent(self):
        lock = threading.Lock()
        with pytest.raises(ValueError, match="that can be sent"):
            dqn(World).fit(lambda: World(flag=lock), steps=100, verbose=0, workers=TWO)

    def test_one_object(self):
        with pytest.raises(ValueError, match="make for themselves"):
            dqn(World).fit(World(), steps=100, verbose=0, workers=TWO)

    def test_other_versions(self):
        found = {**versions(), "keras": "2.0"}
        with pytest.raises(ValueError, match=r"worker 1 on node 'b' with keras 2.0"):
            check_versions(1, "b", found)

    def test_no_cluster_at_the_address(self):
        """In a process of its own: here Ray runs already."""
        script = (
            "import kerasrl2 as krl\n"
            "from kerasrl2.distributed import Workers, cluster\n"
            "cluster.join(Workers(1, address='127.0.0.1:1'))"
        )
        result = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
        )
        assert "Expected a cluster at this address" in result.stderr
        assert "ray start --head" in result.stderr

    def test_an_agent_of_the_users(self):
        """A class of this module, and one that the worker cannot import."""
        agent = Mine.for_env(ENV, hidden=(8,), num_envs=2, seed=0, xla=False)
        before = agent.get_weights()
        agent.fit(ENV, steps=64, verbose=0, workers=TWO)
        assert int(agent.env_steps) >= 64
        pairs = zip(before, agent.get_weights(), strict=True)
        assert any((old != new).any() for old, new in pairs)
        agent.close()


@keras.saving.register_keras_serializable(package="tests_of_workers")
class Mine(krl.agents.A2C):
    pass


SCRIPT = """
import os, sys, time
import kerasrl2 as krl
from kerasrl2.distributed import Workers

if __name__ == "__main__":
    agent = krl.agents.DQN.for_env("CartPole-v1", hidden=(8,), num_envs=2, seed=0)
    print("pid", os.getpid(), flush=True)
    loop = agent.loop_on("CartPole-v1", workers=Workers(2, cpus=0.4))
    loop.compile()
    print("ready", flush=True)
    agent.fit("CartPole-v1", steps=10**9, verbose=0, workers=Workers(2, cpus=0.4))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(tmp_path, how):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(krl.__file__).parents[1])},
    )  # fmt: skip
    while "ready" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(3.0)
    family = descendants(process.pid)
    assert len(family) > 3
    process.send_signal(how)
    started = time.monotonic()
    process.wait(timeout=60)
    assert time.monotonic() - started < 30.0  # 5 s, where nothing else runs
    left = gone(family, max(0.0, 30.0 - (time.monotonic() - started)))
    if how == signal.SIGKILL:  # nobody is left to tell Ray's own agents
        left = [pid for pid in left if "ray::Host" in command(pid)]
    assert left == []


SMALL_STORE = """
import sys, time
from pathlib import Path
import kerasrl2 as krl
from kerasrl2.distributed import Workers, cluster
from tests.distributed.worlds import Wide

if __name__ == "__main__":
    ray = cluster.ray_module()
    ray.init(address="local", object_store_memory=80 * 10**6, _temp_dir=sys.argv[1],
             include_dashboard=False, log_to_driver=False, logging_level="error")
    agent = krl.agents.DQN.for_env(Wide, hidden=(2,), num_envs=4, seed=0, xla=False,
                                   buffer_size=4_000, learning_starts=10**6)
    loop = agent.loop_on(Wide, workers=Workers(2, cpus=0.4, block=512))
    for _ in range(4):
        loop.run(1)
        time.sleep(3.0)  # the learner is slow: workers are done with what they may do
    print(loop.snapshot.block_bytes, loop.requests_in_flight(), int(agent.env_steps))
    agent.close()
"""


def test_a_full_object_store_slows_workers_down_and_spills_nothing():
    """Four blocks of 33 MB do not fit in 80; so one is asked for at a time."""
    with tempfile.TemporaryDirectory() as place:  # short, for the names of sockets
        result = subprocess.run(
            [sys.executable, "-c", SMALL_STORE, place], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(krl.__file__).parents[1])},
            timeout=300,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        size, in_flight, steps = map(int, result.stdout.split()[-3:])
        assert size > 32e6
        assert (in_flight, steps) == (1, 4 * 4 * 512)
        logs = [path.name for path in Path(place).glob("session_2*/logs/*")]
        assert "raylet.out" in logs
        assert not [name for name in logs if "spill" in name]  # nobody was asked to


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def descendants(pid):
    found = subprocess.run(
        ["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True
    ).stdout.split()[2:]
    numbers = list(map(int, found))
    parents = dict(zip(numbers[::2], numbers[1::2], strict=True))
    family = {pid}
    while True:
        more = {p for p, parent in parents.items() if parent in family} - family
        if not more:
            return sorted(family - {pid})
        family |= more


def test_killed_at_random_moments():
    """Three; `tests.benchmarks.worker_kills` takes twenty and keeps figures."""
    agent = dqn()
    loop = agent.loop_on(ENV, workers=TWO)
    loop.compile()
    with pytest.warns(RuntimeWarning, match="has ended"):
        kills = list(kill_at_random(loop, np.random.default_rng(0), 3))
    check_counts(agent)
    assert sum(loop.pool.generations) == 3
    agent.close()
    assert all(kill["seen"] < 2.0 + kill["pause"] for kill in kills)
    assert np.median([kill["pause"] for kill in kills]) < 1.0


def test_a_resumed_run_has_the_same_bits(tmp_path):
    """2N steps, and N, other processes, N: with workers that are served in turn."""
    workers = Workers(2, cpus=0.4, block=16, ordered=True)
    runs = {"whole": [None], "cut": [StopAfter(640), None]}
    agents = {}
    for name, ends in runs.items():
        for end in ends:
            agent = dqn()
            agent.fit(
                ENV, steps=1280, epochs=2, verbose=0, workers=workers,
                callbacks=[end] if end else None, checkpoint_dir=tmp_path / name,
                resume=True,
            )  # fmt: skip
            agent.close()
            agents[name] = agent
    assert int(agents["cut"].env_steps) == 1280
    for a, b in zip(*(agents[name].weights for name in runs), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
