"""What a pool asks of Ray, without Ray."""

from kerasrl2.distributed import Workers, pool
from kerasrl2.distributed.pool import Pool


class Cluster:
    """Counts how often it is asked how large it is."""

    asked = 0

    def cluster_resources(self):
        self.asked += 1
        return {"object_store_memory": 100.0 * self.asked}


def test_the_size_of_the_store_is_asked_for_every_few_seconds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pool.time, "monotonic", lambda: now[0])
    cluster = Cluster()
    monkeypatch.setattr(pool.cluster, "join", lambda workers: cluster)
    monkeypatch.setattr(Pool, "_make", lambda self, slot: None)
    workers = Pool(Workers(1), None, None)
    assert [workers.store_bytes() for _ in range(3)] == [100.0] * 3
    now[0] = 4.9
    assert workers.store_bytes() == 100.0
    now[0] = 5.0
    assert workers.store_bytes() == 200.0  # a node may have joined
    assert cluster.asked == 2
