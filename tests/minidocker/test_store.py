"""store.py: the first commands of a host may come at once."""

import multiprocessing

from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store

COMERS, ROUNDS = 4, 25


def come(folder, together):
    """Be one of the first."""
    together.wait(30)
    store = Store(Roots(folder / "data", folder / "run", {}))
    store.add_event("container", "create", "x")
    store.close()


def test_many_that_make_a_store_at_once_all_get_it(tmp_path):
    fork = multiprocessing.get_context("fork")
    statuses = []
    for number in range(ROUNDS):
        together = fork.Barrier(COMERS)
        comers = [fork.Process(target=come, args=(tmp_path / str(number), together)) for _ in range(COMERS)]
        for one in comers:
            one.start()
        for one in comers:
            one.join(60)
        statuses += [one.exitcode for one in comers]
    assert statuses == [0] * COMERS * ROUNDS
