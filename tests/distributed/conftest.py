"""Fixtures of workers: in this process, or over Ray, which is started once."""

import pytest

from tests.distributed.local import LocalPool


@pytest.fixture
def local(monkeypatch):
    """Workers are in this process; a list of the pools that were made."""
    made = []

    def pool(*arguments):
        made.append(LocalPool(*arguments))
        return made[-1]

    monkeypatch.setattr("kerasrl2.distributed.pool.Pool", pool)
    return made


@pytest.fixture(scope="session")
def ray():
    """Ray on this machine, for all tests of a process."""
    from kerasrl2.distributed import cluster
    from kerasrl2.distributed.workers import Workers

    ray = cluster.join(Workers(1))
    yield ray
    cluster.leave(ray)
