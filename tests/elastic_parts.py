"""Drivers in a hurry, each in a process of its own, and what they do; they import this file."""

import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import ray
from ray._private.state import state

from dfp_batch.config.run_config import run_config
from dfp_batch.engine import driver, gpu_pool, nodes, ray_executor, scheduler
from dfp_batch.engine.driver import Observer, Submission, submit
from dfp_batch.engine.executor import Work
from dfp_batch.engine.ray_executor import RayExecutor
from dfp_batch.engine.stages import Stage
from dfp_batch.runs.attempts import read_attempts
from dfp_batch.runs.manifest import read_manifest

TIMEOUT_S = 200


def new_driver(address):
    spawn = get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=join, initargs=(address,))


def join(address):
    """Be a driver that is in a hurry."""
    ray.init(address, log_to_driver=False, logging_level="ERROR")
    scheduler.BACKOFF_S, driver.STILL_S, driver.POLL_S = 0.05, 1.0, 0.2
    gpu_pool.PAUSE_S = 0.1
    nodes.REFRESH_S, ray_executor.COUNT_RUNS_EVERY_S = 0.2, 0.2
    ray_executor.GpuPool = partial(gpu_pool.GpuPool, turn_s=0.0)


def faulty(folder):
    """The exposure stays, or the corner that says what fails would change."""
    settings = {"reconstruction.use": "fault_injection:FaultyReconstruction"}
    settings |= {"exposure.model": "none"}
    return run_config("classical", None, {**settings, "reconstruction.folder": str(folder)})


def run(manifest, folder, gpus_per_pair=None):
    """A whole run; what it said, and the actors that it had."""
    before = set(state.actor_table(None))
    url, said = f"{folder}/run", Path(folder, "said")
    submission = Submission(manifest, url, faulty(folder), gpus_per_pair=gpus_per_pair)

    def own():
        return [actor for key, actor in workers().items() if key not in before]

    def note(text):
        said.write_text(f"{text}; {len(own())} workers")

    status = submit(submission, Observer(lambda url: None, lambda counts: None, note))
    return status.ok, [actor["Address"]["NodeID"] for actor in own()]


def workers():
    """All GPU workers that there have ever been."""
    found = state.actor_table(None).items()
    return {key: actor for key, actor in found if actor["ActorClassName"] == "FusionWorker"}


def alive():
    return {actor["Pid"] for actor in workers().values() if actor["State"] == "ALIVE"}


def dead():
    return {key for key, actor in workers().items() if actor["State"] == "DEAD"}


class Bench:
    """An executor and the pairs of a manifest, for one stage after the other."""

    def __init__(self, manifest, folder, gpus_per_pair=None):
        self.pairs = read_manifest(manifest)
        self.executor = RayExecutor(faulty(folder), f"{folder}/run", gpus_per_pair)
        self.ended = {}

    def close(self):
        self.executor.close()

    def start(self, number, stage, relief=0):
        self.ended.pop(number, None)
        self.executor.start(Work(number, stage, self.pairs[number], relief))

    def until(self, seen):
        deadline = time.monotonic() + TIMEOUT_S
        while not (found := seen()):
            assert time.monotonic() < deadline, "it did not happen"
            for completion in self.executor.wait(0.05):
                self.ended[completion.number] = completion.report
        return found

    def end(self, number):
        return self.until(lambda: self.ended.get(number))

    def do(self, number, stage, relief=0):
        self.start(number, stage, relief)
        return self.end(number)

    def reconstruct(self, number, relief=0):
        """Both stages; the failure of the second, if there is one."""
        assert self.do(number, Stage.PREPARE).failure is None
        return self.do(number, Stage.RECONSTRUCT, relief).failure


@contextmanager
def bench(*arguments):
    with closing(Bench(*arguments)) as made:
        yield made


def wait_for(seen):
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := seen()):
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.1)
    return found


def states(folder):
    return Counter(row["status"] for row in read_attempts(f"{folder}/run").to_pylist())


def categories(folder):
    return {row["category"] for row in read_attempts(f"{folder}/run").to_pylist()}
