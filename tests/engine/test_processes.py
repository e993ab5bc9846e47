"""Work in processes of its own."""

import os
import time

import pytest
import torch

from dfp_batch.engine.processes import fresh, results


def square(number):
    if number < 0:
        raise ValueError(f"{number} is negative")
    if number == 0:
        os._exit(1)
    time.sleep(0.01 * (number % 3))
    return number * number


def threads(_):
    return os.getpid(), torch.get_num_threads()


def set_variable(name, value):
    os.environ[name] = value


def variable(name):
    return os.environ.get(name)


class DiedError(Exception):
    pass


def died(held):
    return DiedError(sorted(held))


def test_every_task_is_done_and_never_more_are_in_work_than_there_are_processes():
    with fresh(2) as pool:
        done = list(results(pool, 2, square, range(1, 8), died))
    assert sorted(result for _, result in done) == [n * n for n in range(1, 8)]
    assert {running for running, _ in done} <= {0, 1}
    assert done[-1][0] == 0


def test_a_process_is_another_one_with_one_thread():
    with fresh(1) as pool:
        (_, (process, count)) = next(results(pool, 1, threads, [None], died))
    assert process != os.getpid()
    assert count == 1


def test_a_process_starts_as_it_is_told():
    with fresh(1, set_variable, "OF_A_TEST", "yes") as pool:
        assert pool.submit(variable, "OF_A_TEST").result() == "yes"
    assert variable("OF_A_TEST") is None


def test_what_the_work_raises_is_raised():
    with fresh(1) as pool, pytest.raises(ValueError, match="-1 is negative"):
        list(results(pool, 1, square, [2, -1], died))


def test_a_dead_process_names_what_was_in_work():
    with fresh(1) as pool, pytest.raises(DiedError, match=r"\[0\]"):
        list(results(pool, 1, square, [2, 0, 3], died))
