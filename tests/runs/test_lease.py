"""Who drives a run: one at a time, whatever happens to the others."""

import dataclasses
import json
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dfp_batch.errors import RunHeldError
from dfp_batch.io import storage
from dfp_batch.runs import lease as lease_module
from dfp_batch.runs.lease import Lease, current_lease, take_lease

NO_PROCESS = 2**22 + 1
RACERS = 4


@pytest.fixture(params=["local", "s3"])
def run_url(request, tmp_path):
    if request.param == "local":
        return str(tmp_path / "run")
    return f"{request.getfixturevalue('s3_url')}/{tmp_path.name}/run"


def file_of(url, epoch):
    return f"{url}/lease/{epoch:06d}.json"


def write(url, lease):
    storage.write_bytes(file_of(url, lease.epoch), lease.to_bytes())
    return lease


def kill(url, lease):
    """Leave the lease as a driver does that was killed a moment ago."""
    return write(url, dataclasses.replace(lease, pid=NO_PROCESS))


def try_to_take(url, takeover=False):
    try:
        return take_lease(url, 0, takeover)
    except RunHeldError:
        return None


def test_a_session_takes_beats_and_releases(run_url):
    assert current_lease(run_url) is None
    lease = take_lease(run_url, 0, False)
    assert lease.epoch == 1
    assert current_lease(run_url) == lease
    later = lease.beat(run_url, lease.heartbeat_at + 30, 7)
    assert current_lease(run_url) == later
    assert (later.heartbeat_at, later.running) == (lease.heartbeat_at + 30, 7)
    later.release(run_url)
    assert current_lease(run_url) is None


def test_an_epoch_is_never_used_again_even_if_it_left_no_rows(run_url):
    for epoch in (1, 2, 3):
        lease = take_lease(run_url, 0, False)
        assert lease.epoch == epoch
        lease.release(run_url)
    assert take_lease(run_url, 7, False).epoch == 8, "rows of sessions without a lease count"


@pytest.mark.parametrize(
    ("change", "age_s", "live"),
    [
        ({}, 0, True),
        ({}, 301, False),
        ({"heartbeat_at": float("nan")}, 0, False),
        ({"released": True}, 0, False),
        ({"pid": NO_PROCESS}, 0, False),
        ({"pid": -5}, 0, False),
        ({"pid": 2**70}, 0, False),
        ({"pid_started_at": 5.0}, 0, False),
        ({"host": "elsewhere", "pid": NO_PROCESS}, 0, True),
        ({"host": "elsewhere"}, 301, False),
    ],
)
def test_when_a_lease_is_live(change, age_s, live):
    lease = dataclasses.replace(Lease.mine(1, 1000.0), **change)
    assert lease.is_live(1000.0 + age_s) is live


def test_a_living_driver_is_named(run_url):
    held = write(run_url, dataclasses.replace(take_lease(run_url, 0, False), host="node7 boot 5"))
    with pytest.raises(RunHeldError) as error:
        take_lease(run_url, 0, False)
    expected = f"{run_url} is driven by process {held.pid} on node7, heartbeat 0 s ago; "
    assert str(error.value) == expected + "wait for it, or take the run with submit --takeover"


def test_the_displaced_driver_notices_and_leaves_the_other_alone(run_url, monkeypatch):
    monkeypatch.setattr(lease_module, "ACKNOWLEDGE_S", 0.0)
    first = take_lease(run_url, 0, False)
    assert not first.displaced(run_url)
    second = take_lease(run_url, 0, True)
    assert second.epoch == 2
    assert first.displaced(run_url)
    with pytest.raises(RunHeldError, match="another driver has taken this run over"):
        first.beat(run_url, time.time(), 0)
    first.release(run_url)
    assert current_lease(run_url) == second
    assert not second.displaced(run_url)


def test_a_takeover_waits_for_the_last_rows_of_the_displaced_driver(run_url, monkeypatch):
    monkeypatch.setattr(lease_module, "ACKNOWLEDGE_S", 600.0)
    first = take_lease(run_url, 0, False)

    def drive():
        while not first.displaced(run_url):
            threading.Event().wait(0.01)
        storage.write_bytes(f"{run_url}/results/last", b"rows")
        first.release(run_url)

    with ThreadPoolExecutor(1) as pool:
        driving = pool.submit(drive)
        take_lease(run_url, 0, True)
        assert storage.read_bytes(f"{run_url}/results/last") == b"rows"
        driving.result()


def test_a_takeover_does_not_wait_for_a_driver_that_dies(tmp_path, monkeypatch):
    monkeypatch.setattr(lease_module, "ACKNOWLEDGE_S", 600.0)
    first = take_lease(str(tmp_path), 0, False)

    def die():
        while not first.displaced(str(tmp_path)):
            threading.Event().wait(0.01)
        kill(str(tmp_path), first)

    with ThreadPoolExecutor(1) as pool:
        dying = pool.submit(die)
        assert take_lease(str(tmp_path), 0, True).epoch == 2
        dying.result()


@pytest.mark.parametrize("faster", [True, False], ids=["another driver's", "ours"])
def test_a_store_that_says_exists_is_asked_whose_it_is(run_url, monkeypatch, faster):
    """The first answer was lost, and the store refuses its own second try."""
    create = storage.create_bytes

    def refused(url, data):
        create(url, Lease.mine(1, time.time()).to_bytes() if faster else data)
        return create(url, data)

    monkeypatch.setattr(storage, "create_bytes", refused)
    if faster:
        with pytest.raises(RunHeldError, match="another driver took this run a moment ago"):
            take_lease(run_url, 0, False)
    else:
        assert take_lease(run_url, 0, False) == current_lease(run_url)


@pytest.mark.parametrize(
    "damage",
    [b"", b'{"token": "', b"[]", b"null", b'{"token": "x"}', b"\xff\xfe", b'{"epoch": 1e999}'],
)
@pytest.mark.parametrize("name", ["lease/000004.json", "lease.json"])
def test_a_damaged_lease_is_like_a_stale_one(tmp_path, damage, name):
    url = str(tmp_path)
    kill(url, Lease.mine(3, time.time()))
    storage.write_bytes(f"{url}/{name}", damage)
    lease = take_lease(url, 0, False)
    assert lease.epoch == (5 if "/" in name else 4)
    assert current_lease(url) == lease


def test_foreign_files_among_the_leases_are_left_alone(tmp_path):
    url = str(tmp_path)
    for name in ("notes.txt", "000009.json.bak", "9.json", "latest.json"):
        storage.write_bytes(f"{url}/lease/{name}", b"mine")
    assert take_lease(url, 0, False).epoch == 1
    assert storage.read_bytes(f"{url}/lease/latest.json") == b"mine"


def test_members_of_a_later_version_are_dropped(tmp_path):
    held = take_lease(str(tmp_path), 0, False)
    later = json.loads(held.to_bytes()) | {"colour": "red"}
    storage.write_bytes(file_of(str(tmp_path), 1), json.dumps(later).encode())
    assert current_lease(str(tmp_path)) == held


def older(url, **change):
    """The lease as older versions kept it."""
    lease = dataclasses.replace(Lease.mine(4, time.time()), **change)
    known = dataclasses.asdict(lease)
    del known["released"]
    storage.write_bytes(f"{url}/lease.json", json.dumps(known).encode())


def test_a_living_driver_of_an_older_version_holds_the_run(run_url):
    older(run_url)
    with pytest.raises(RunHeldError, match="is driven by process"):
        take_lease(run_url, 0, False)
    assert take_lease(run_url, 0, True).epoch == 5
    assert not storage.exists(f"{run_url}/lease.json"), "how that version notices"


def test_a_dead_driver_of_an_older_version_does_not(run_url):
    older(run_url, pid=NO_PROCESS)
    assert take_lease(run_url, 0, False).epoch == 5


# Races.


def race(url, barrier, rounds, takeover=False):
    """What one of the racers won in every round; a winner dies before the next."""
    won = []
    for _ in range(rounds):
        barrier.wait()
        lease = try_to_take(url, takeover)
        barrier.wait()
        if lease is not None:
            kill(url, lease)
        won.append(lease and lease.epoch)
    return won


def assert_one_winner_per_round(races):
    for number, winners in enumerate(zip(*races, strict=True), start=1):
        assert [epoch for epoch in winners if epoch] == [number]


def test_one_of_many_threads_wins_the_run_of_a_dead_driver(run_url):
    barrier = threading.Barrier(RACERS)
    with ThreadPoolExecutor(RACERS) as pool:
        races = list(pool.map(race, [run_url] * RACERS, [barrier] * RACERS, [10] * RACERS))
    assert_one_winner_per_round(races)


def test_one_of_many_processes_wins_the_run_of_a_dead_driver(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, spawn.Pool(RACERS) as pool:
        barrier = manager.Barrier(RACERS)
        races = pool.starmap(race, [(str(tmp_path), barrier, 20)] * RACERS, chunksize=1)
        pool.close()
        pool.join()
    assert_one_winner_per_round(races)


def test_no_two_takeovers_share_an_epoch(run_url, monkeypatch):
    monkeypatch.setattr(lease_module, "ACKNOWLEDGE_S", 0.0)
    barrier = threading.Barrier(RACERS)
    with ThreadPoolExecutor(RACERS) as pool:
        tasks = [pool.submit(race, run_url, barrier, 5, True) for _ in range(RACERS)]
        rounds = list(zip(*(task.result() for task in tasks), strict=True))
    epochs = [sorted(filter(None, winners)) for winners in rounds]
    assert all(epochs), "somebody wins every round"
    together = [epoch for winners in epochs for epoch in winners]
    assert together == sorted(set(together))
