"""A seeded soak: a cluster of two nodes, a store that fails, and everything that dies at night.

::

    python tests/chaos.py --seed 1 --minutes 10

Two runs at once on one cluster, over and over: one of 300 tiny pairs on S3, one of 60 on a disk
that fills up. Meanwhile workers, actors, nodes and drivers are killed and frozen, nodes leave and
join, second drivers come, requests fail. A driver that ends before the run is started again, by the
same command. At the end all is calm, and the runs must be whole. Prints what was done and found, as
JSON; exits with 1 if a pair was lost or has two rows.
"""

import argparse
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
from ray.cluster_utils import Cluster

from chaos_run import Run
from conftest import texture, write_image
from dfp_batch.engine.cluster import private_ray, variable
from dfp_batch.runs.attempts import read_attempts
from dfp_batch.runs.manifest import Pair, write_manifest
from faulty_store import FaultyStore

HERE = Path(__file__).parent
PAIRS, SMALL_PAIRS = 300, 60
DISK_BYTES = 64 * 2**20
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
KEYS |= {"AWS_DEFAULT_REGION": "us-east-1"}
FAULT_RATE = 0.02
NOTED_STILL_S = 40


class Soak:
    """Everything that can be hurt, and the hurting."""

    def __init__(self, seed, folder, store, cluster, can_fill):
        self.random = random.Random(seed)
        self.actions = [one for one in self.ACTIONS if can_fill or one is not Soak._fill_disk]
        self.folder, self.store, self.cluster = folder, store, cluster
        self.nodes = [self._new_node() for _ in range(2)]
        self.faults = Counter()
        self.later = []  # (due, what to do)
        self.runs = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for run in self.runs:
            run.end()

    def _new_node(self):
        return self.cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)

    # What is done

    def hurt(self):
        action = self.random.choice(self.actions)
        with suppress(psutil.NoSuchProcess, IndexError, ProcessLookupError):
            name = action.__name__.strip("_").replace("_", " ")
            self.say(name)
            action(self)
            self.faults[name] += 1

    def _kill_worker(self):
        self.random.choice(self._workers()).kill()

    def _freeze_worker(self):
        worker = self.random.choice(self._workers())
        worker.suspend()
        self._in(self.random.uniform(5, 60), worker.resume)

    def _kill_board(self):
        boards = [p for p in self._below_raylets() if "PulseBoard" in _title(p)]
        self.random.choice(boards).kill()

    def _kill_driver(self):
        self.random.choice(self._driven()).process.kill()

    def _kill_ray_side_of_driver(self):
        driver = psutil.Process(self.random.choice(self._driven()).process.pid)
        self.random.choice(driver.children()).kill()

    def _freeze_ray_side_of_driver(self):
        driver = psutil.Process(self.random.choice(self._driven()).process.pid)
        child = self.random.choice(driver.children())
        child.suspend()
        self._in(self.random.uniform(2, 20), child.resume)

    def _stop_driver(self):
        run = self.random.choice(self._driven())
        run.process.terminate()
        asked = time.monotonic()
        run.process.wait(45)
        assert time.monotonic() - asked < 30 + 5, "SIGTERM was not heard within 30 s"

    def _lose_node(self):
        node = self.nodes.pop(self.random.randrange(len(self.nodes)))
        self.cluster.remove_node(node, allow_graceful=False)
        self._in(self.random.uniform(0, 15), lambda: self.nodes.append(self._new_node()))

    def _freeze_node(self):
        raylet = psutil.Process(self._raylet(self.random.choice(self.nodes)))
        frozen = [raylet, *raylet.children(recursive=True)]
        for process in frozen:
            process.suspend()
        self._in(self.random.uniform(5, 25), lambda: _resume(frozen))

    def _second_driver(self):
        run = self.random.choice(self._driven())
        more = ["--takeover"] if self.random.random() < 0.5 else []
        self._in(60, run.start(*more).kill)

    def _outage(self):
        self.store.outage = True
        self._in(self.random.uniform(3, 12), self._end_outage)

    def _end_outage(self):
        self.store.outage = False

    def _fill_disk(self):
        ballast = self.folder / "disk" / "ballast"
        with suppress(OSError), open(ballast, "wb") as file:
            while True:
                file.write(bytes(2**16))
                file.flush()
        self._in(self.random.uniform(3, 12), lambda: ballast.unlink(missing_ok=True))

    ACTIONS = (
        _kill_worker,
        _kill_worker,
        _freeze_worker,
        _kill_board,
        _kill_driver,
        _kill_ray_side_of_driver,
        _freeze_ray_side_of_driver,
        _stop_driver,
        _lose_node,
        _freeze_node,
        _second_driver,
        _outage,
        _fill_disk,
    )

    # What there is

    def _in(self, seconds, action):
        self.later.append((time.monotonic() + seconds, action))

    def repair(self, everything=False):
        """What is due: thaw, join, refill."""
        now = time.monotonic()
        due = [one for one in self.later if everything or one[0] <= now]
        self.later = [one for one in self.later if one not in due]
        for _, action in due:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                action()
        for node in [node for node in self.nodes if not _is_alive(self._raylet(node))]:
            self.say("replace a dead node")
            self.nodes.remove(node)
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.append(self._new_node())

    def say(self, text):
        logging.getLogger("chaos").info("%s", text)

    def _driven(self):
        return [run for run in self.runs if run.process is not None and run.process.poll() is None]

    def _raylet(self, node):
        return node.all_processes["raylet"][0].process.pid

    def _below_raylets(self):
        nodes = [self.cluster.head_node, *self.nodes]
        raylets = [psutil.Process(self._raylet(node)) for node in nodes]
        return [child for raylet in raylets for child in raylet.children(recursive=True)]

    def _workers(self):
        return [p for p in self._below_raylets() if _title(p).startswith(("ray::", "python"))]


def _title(process):
    with suppress(psutil.Error):
        return " ".join(process.cmdline()[:1])
    return ""


def _is_alive(pid):
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _resume(processes):
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.resume()


class Stillness:
    """The longest time for which no run wrote anything, although it had a driver and a store."""

    def __init__(self):
        self.longest_s, self.since, self.seen, self.noted = Counter(), {}, {}, set()

    def look(self, run, moved, excused):
        now = time.monotonic()
        if run.done or excused or moved != self.seen.get(run.name):
            self.seen[run.name], self.since[run.name] = moved, now
            self.noted.discard(run.name)
        still_s = now - self.since.setdefault(run.name, now)
        if still_s > NOTED_STILL_S and run.name not in self.noted:
            self.noted.add(run.name)
            logging.getLogger("chaos").info("%s stands still for %.0f s", run.name, still_s)
        self.longest_s[run.name.partition("-")[0]] = max(
            self.longest_s[run.name.partition("-")[0]], still_s
        )


def archive(folder, count):
    """Tiny pairs of one scene each."""
    pairs = []
    for number in range(count):
        names = [f"{folder}/p{number:03d}_{letter}.png" for letter in "AB"]
        images = [texture(24, 20, 3, seed=2 * number + k) for k in (0, 1)]
        pairs.append(Pair(f"p{number:03d}", tuple(map(write_image, names, images))))
    url = f"{folder}/manifest.parquet"
    write_manifest(url, pairs)
    return url


@contextmanager
def disk(folder):
    """A small one, so that it can be full; without the right to mount one it is not filled."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    is_small = shutil.which("mount") and subprocess.run(mount, check=False).returncode == 0
    try:
        yield bool(is_small)
    finally:
        if is_small:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def check(run, images):
    """What a finished run looks like from outside."""
    rows = [row for row in read_attempts(run.url).to_pylist() if row["status"] == "ok"]
    done = Counter(row["pair_id"] for row in rows)
    return {
        "lost": run.count - len(done),
        "rows_twice": sum(number > 1 for number in done.values()),
        "adopted": sum(bool(row["adopted"]) for row in rows),
        "images_on_s3": len(images),
        "images_on_s3_written_again": sum(number - 1 for number in images),
    }


def soak(options, this):
    """Hurt for a while, then let everything end; what was found."""
    folder, store, cluster = this.folder, this.store, this.cluster
    manifests = archive("s3://archive/photos", PAIRS), archive(folder / "photos", SMALL_PAIRS)
    places = "s3://archive/run", f"{folder}/disk/run"
    stillness, found, rounds = Stillness(), Counter(), Counter()
    codes, messages, begun = Counter(), [], 0
    deadline, next_hurt = time.monotonic() + 60 * options.minutes, time.monotonic() + 20
    store.rate = FAULT_RATE
    calm = False
    while not calm or any(not run.done for run in this.runs):
        now = time.monotonic()
        if not calm and now > deadline:
            this.say("calm")
            calm, store.rate = True, 0.0
            this.repair(everything=True)
        for kind, count in enumerate((PAIRS, SMALL_PAIRS)):
            if not calm and not any(run.name.startswith("AB"[kind]) for run in this.runs):
                begun += 1
                name, url = f"{'AB'[kind]}-{begun}", f"{places[kind]}-{begun}"
                this.runs.append(Run(name, manifests[kind], url, count, cluster.address))
        for run in list(this.runs):
            run.look()
            excused = store.outage or (folder / "disk" / "ballast").exists()
            stillness.look(run, moved(run, store), excused)
            if run.done:
                images = [n for (r, _), n in store.images.items() if run.url.endswith(f"/{r}")]
                found.update(check(run, images))
                rounds[run.name[0]] += 1
                codes.update(run.codes)
                messages += run.messages
                this.runs.remove(run)
        if not calm and now > next_hurt:
            next_hurt = now + this.random.uniform(8, 20)
            this.hurt()
        this.repair()
        time.sleep(0.2)
    return {
        "seed": options.seed,
        "minutes": options.minutes,
        "runs finished": dict(rounds),
        "pairs": rounds["A"] * PAIRS + rounds["B"] * SMALL_PAIRS,
        **found,
        "stood still at most, s": {key: round(s, 1) for key, s in stillness.longest_s.items()},
        "drivers ended with": {str(code): number for code, number in sorted(codes.items())},
        "faults": dict(sorted((this.faults + store.injected).items())),
        "words of the drivers": sorted(Counter(messages).items(), key=lambda one: -one[1])[:20],
    }


def moved(run, store):
    """Something that changes whenever the run gets on."""
    if run.url.startswith("s3://"):
        return store.moved_at.get(run.url.rpartition("/")[2])
    folder = Path(run.url)
    places = [folder / "outputs", folder / "results", *(folder / "outputs").glob("*")]
    return max((place.stat().st_mtime_ns for place in places if place.exists()), default=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("chaos").setLevel(logging.INFO)
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        can_fill = stack.enter_context(disk(folder / "disk"))
        store = stack.enter_context(FaultyStore(options.seed))
        paths = os.pathsep.join([str(HERE.parent), str(HERE)])
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": store.url, "PYTHONPATH": paths}.items():
            stack.enter_context(variable(name, value))
        import s3fs  # noqa: PLC0415 - it reads the variables

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("archive")
        ray_folder = stack.enter_context(private_ray())
        for name in ("TMPDIR", "RAY_TMPDIR"):
            stack.enter_context(variable(name, ray_folder))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        stack.callback(cluster.shutdown)
        this = stack.enter_context(Soak(options.seed, folder, store, cluster, can_fill))
        result = soak(options, this)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    sys.exit(bool(result["lost"] or result["rows_twice"]))


if __name__ == "__main__":
    main()
