"""An executor that runs nothing, for the scheduler: every fate is known beforehand."""

import random
from collections import Counter

from dfp_batch.engine.executor import Completion
from dfp_batch.engine.progress import Pulse
from dfp_batch.engine.stages import Failure, Report, Stage

MUTE = ("freeze", "lost")


class FakeExecutor:
    """Runs nothing; ``table[pair_id][attempt - 1]`` is None or (stage, what happens there).

    What happens is the category of a failure; or the stage begins and then hangs ("hang"), is mute
    as well ("freeze"), is mute and cannot even be killed ("lost"), or never begins, once ("stuck").
    """

    def __init__(self, table, slots=1, tasks=2, seed=0, memory_bytes=10**9):
        self.table = table
        self.slots, self.tasks = slots, tasks
        self.rng = random.Random(seed)
        self.running = {}
        self.began = {}
        self.attempts = Counter()
        self.attempt_of = {}
        self.started = []
        self.now = 0.0
        self.most = Counter()
        self.prepared = self.most_prepared = 0
        self.memory_bytes = memory_bytes
        self.in_flight = []
        self.asked, self.killed, self.was_stuck = set(), set(), set()
        self.values = {}
        self.shown = []

    def show(self, figures):
        self.shown.append(figures)

    def capacity(self, stage):
        return self.slots if stage is Stage.RECONSTRUCT else self.tasks

    def explain(self):
        return "1 node"

    def start(self, work):
        stage, number = work.stage, work.number
        if stage is Stage.PREPARE and number not in self.attempt_of:
            self.attempts[work.pair.pair_id] += 1
            self.attempt_of[number] = self.attempts[work.pair.pair_id]
        self.running[number] = work
        if (number, stage) in self.was_stuck or self.fate(work) != "stuck":
            self.began[number] = self.now
            self.started.append((stage, work.pair.pair_id, self.attempt_of[number]))
        now = sum(running.stage is stage for running in self.running.values())
        self.most[stage] = max(self.most[stage], now)
        self.prepared += {Stage.PREPARE: 1, Stage.RECONSTRUCT: -1, Stage.PUBLISH: 0}[stage]
        self.most_prepared = max(self.most_prepared, self.prepared)
        self.in_flight.append(len(self.running))
        if stage is not Stage.PREPARE:
            assert Stage.PREPARE in self.values[number]
            assert f"t_{Stage.PREPARE}_s" in work.facts

    def fate(self, work):
        outcomes = self.table.get(work.pair.pair_id, [])
        attempt = self.attempt_of[work.number]
        outcome = outcomes[attempt - 1] if attempt <= len(outcomes) else None
        return outcome[1] if outcome and outcome[0] is work.stage else None

    def wait(self, timeout_s):
        ending = [number for number in self.running if self.can_end(number)]
        if not ending:
            self.now += timeout_s
            return []
        self.rng.shuffle(ending)
        return [self.end(number) for number in ending[: self.rng.randint(1, len(ending))]]

    def can_end(self, number):
        work = self.running[number]
        fate = self.fate(work)
        if fate == "stuck" and (number, work.stage) not in self.was_stuck:
            return False
        asked = number in self.asked or number in self.killed
        return {"hang": asked, "freeze": number in self.killed, "lost": False}.get(fate, True)

    def end(self, number):
        work = self.running.pop(number)
        self.began.pop(number, None)
        fate = None if number in self.was_stuck else self.fate(work)
        fate = None if (number, work.stage) in self.was_stuck else fate
        failure = fate and self.failure(fate, work.stage)
        if number in self.killed:
            self.killed.discard(number)
            failure = Failure("transient", "Cancelled", "it was killed")
        self.prepared -= work.stage is Stage.PREPARE and failure is not None
        if failure is None:
            self.values.setdefault(number, {})[work.stage] = True
        facts = {f"seen_{work.stage}": 1}
        value_bytes = 0 if failure else 100
        report = Report(work.stage, self.now, 1.0, facts, failure, value_bytes)
        return Completion(number, report)

    @staticmethod
    def failure(fate, stage):
        category = {"hang": "timeout"}.get(fate, fate)
        return Failure(category, "Injected", f"{category} at {stage}")

    def pulses(self):
        return {
            number: Pulse(at, at if self.fate(self.running[number]) in MUTE else self.now, 100.0)
            for number, at in self.began.items()
        }

    def cancel(self, number):
        self.asked.add(number)

    def kill(self, number):
        work = self.running[number]
        if self.fate(work) == "stuck":
            self.was_stuck.add((number, work.stage))
        if self.fate(work) != "lost":
            self.killed.add(number)

    def drop(self, number):
        self.values.pop(number, None)
        if number in self.running:
            self.prepared -= self.running.pop(number).stage is Stage.PREPARE
            self.began.pop(number, None)


class TimedExecutor(FakeExecutor):
    """Stages take as long as is said, by the clock ``now``; ``busy_s`` counts what each was busy.

    Args:
        seconds: Of every stage.
        slots: For the stage reconstruct.
        tasks: For all others.
    """

    def __init__(self, seconds, slots, tasks):
        super().__init__({}, slots=slots, tasks=tasks)
        self.seconds = seconds
        self.busy_s = Counter()
        self.ends = {}

    def capacity(self, stage):
        """CPUs are shared by all stages but reconstruct."""
        return self.slots if stage is Stage.RECONSTRUCT else self.tasks

    def start(self, work):
        super().start(work)
        self.ends[work.number] = self.now + self.seconds[work.stage]
        self.busy_s[work.stage] += self.seconds[work.stage]

    def wait(self, timeout_s):
        if not self.running:
            self.now += timeout_s
            return []
        self.now = min(self.ends[number] for number in self.running)
        ending = [number for number in self.running if self.ends[number] <= self.now]
        return [self.end(number) for number in ending]
