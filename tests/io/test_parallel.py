"""Work in threads whose answers come in order."""

import threading

import pytest

from dfp_batch.io import parallel
from dfp_batch.io.parallel import THREADS, in_parallel


def test_answers_come_in_order_and_items_are_taken_as_they_are_needed():
    taken = []

    def items():
        for number in range(500):
            taken.append(number)
            yield number

    answers = in_parallel(lambda number: number * 2, items())
    assert next(answers) == 0
    assert len(taken) <= 2 * THREADS + 1
    assert list(answers) == [2 * number for number in range(1, 500)]


def test_so_many_threads_work_at_once():
    together = threading.Barrier(40, timeout=60)
    assert list(in_parallel(lambda _: together.wait() >= 0, range(40), threads=40)) == [True] * 40


def test_an_exception_ends_it():
    done = []

    def work(number):
        if number == 3:
            raise ValueError(number)
        done.append(number)

    with pytest.raises(ValueError, match="3"):
        list(in_parallel(work, range(10_000)))
    assert len(done) < 10_000


def test_the_caller_is_called_while_nothing_comes(monkeypatch):
    monkeypatch.setattr(parallel, "LOOK_EVERY_S", 0.001)
    go_on = threading.Event()
    assert list(in_parallel(lambda _: go_on.wait(), [1], go_on.set)) == [True]
