"""What Prometheus finds of a run, and what the dashboard and the alerts make of it.

The tests of the real Prometheus need the command ``prometheus`` (Debian's package of that name has
``promtool`` as well).
"""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from command_line import command
from dfp_batch.engine.meters import COUNTERS, GAUGES
from fault_injection import BUSY_ONCE, HOLD
from ray_head import RayHead, free_ports

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
RULES = INFRA / "prometheus" / "alerts.yaml"
DASHBOARD = json.loads((INFRA / "grafana" / "dfp-batch.json").read_text())
NAME = re.compile(r"\bray_dfp_batch_\w+")
DEADLINE_S = 150
POLL_S = 0.3
SOON = {"RAY_metrics_report_interval_ms": "3000"}  # gauges are forgotten after twice as long
AT_THE_END = "ray_dfp_batch_end_timestamp_seconds"


def tool(name):
    """A command that the machine must have."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed; `apt-get install prometheus` brings it")
    return found


def dashboard_queries():
    targets = (target for panel in DASHBOARD["panels"] for target in panel["targets"])
    annotations = DASHBOARD["annotations"]["list"]
    return [each["expr"] for each in (*targets, *annotations)]


def alert_queries():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


USED = {name for query in dashboard_queries() + alert_queries() for name in NAME.findall(query)}


def test_dashboard_and_alerts_use_what_there_is_and_all_of_it():
    variables = NAME.findall(json.dumps(DASHBOARD["templating"]))
    assert {f"ray_{name}" for name in (*GAUGES, *COUNTERS)} == USED
    assert set(variables) <= USED


def test_names_are_as_prometheus_wants_them():
    assert all(name.endswith("_total") for name in COUNTERS)
    assert not any(name.endswith("_total") for name in GAUGES)
    units = {name for name in GAUGES if name.endswith(("_seconds", "_bytes"))}
    assert GAUGES.keys() - units == {
        f"dfp_batch_{word}" for word in ("pairs", "running", "workers")
    }


def test_panels_of_the_dashboard_lie_beside_each_other():
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["check", "rules", str(RULES)],
        ["test", "rules", str(Path(__file__).parent / "alerts_test.yaml")],
        ["check", "config", str(INFRA / "prometheus" / "prometheus.yaml")],
    ],
    ids=" ".join,
)
def test_prometheus_takes_the_rules_and_they_fire_when_they_should(words):
    done = subprocess.run([tool("promtool"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """The real one with our configuration; only the place of the dashboard and times differ."""

    def __init__(self, folder, dashboard, token):
        config = yaml.safe_load((INFRA / "prometheus" / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "5s", "evaluation_interval": "1s"}
        (job,) = config["scrape_configs"]
        place = job["http_sd_configs"][0]
        port = urllib.parse.urlsplit(dashboard).port
        place |= {"url": place["url"].replace("8265", str(port)), "refresh_interval": "1s"}
        job["http_sd_configs"] = [place]
        folder.mkdir()
        shutil.copy(RULES, folder)
        (folder / "ray_token").write_text(token)
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.command = [tool("prometheus"), f"--config.file={folder}/prometheus.yaml"]
        self.command += [
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._log = folder / "log"

    def __enter__(self):
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()

    def said(self):
        """Its last words."""
        return self._log.read_text()[-1000:]

    def targets(self):
        """What it asks, and how that went."""
        with urllib.request.urlopen(f"{self.url}/api/v1/targets", timeout=10) as answer:
            found = json.load(answer)["data"]["activeTargets"]
        return [(each["scrapeUrl"], each["health"], each["lastError"]) for each in found]

    def ask(self, query):
        """Labels and value of every series; none before Prometheus has begun."""
        assert self._process.poll() is None, self._log.read_text()
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            return []
        return [(each["metric"], float(each["value"][1])) for each in found]

    def one(self, query):
        """The value of the only series, or None."""
        found = self.ask(query)
        assert len(found) <= 1, found
        return found[0][1] if found else None


def wait_for(condition, why):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(POLL_S)


@contextmanager
def submitted(log, *arguments, **environment):
    """A run in a process of its own, which is ended."""
    paths = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT}/tests"}
    words = command("submit", *arguments, "--preset", "classical", "--scale", "2")
    with log.open("w") as out:
        process = subprocess.Popen(
            words, stdout=out, stderr=out, env={**os.environ, **SOON, **paths, **environment}
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(DEADLINE_S)


def dashboards(log):
    """URLs of the dashboards that a run has told of so far."""
    return re.findall(r"^dashboard: (\S+)$", log.read_text(), re.MULTILINE)


@pytest.fixture
def held_run(make_archive, tmp_path):
    """Arguments of a run of which a pair is bad, one is busy once, and the last one waits."""
    manifest = make_archive(5, faults={1: BUSY_ONCE, 4: HOLD})
    (tmp_path / "p02_A.png").write_bytes(b"")
    settings = ("use=fault_injection:FaultyReconstruction", f"folder={tmp_path}")
    words = [word for each in settings for word in ("--set", f"reconstruction.{each}")]
    return [manifest, "--output", f"{tmp_path}/run", *words]


@pytest.mark.slow
def test_prometheus_finds_every_series_of_a_run_and_ray_may_die(held_run, tmp_path, short_folder):
    """Ray is our own, as `submit` starts it; a second one takes over the moment it is gone."""
    log = tmp_path / "log"
    token = "f" * 32
    home = {"HOME": str(short_folder), "RAY_AUTH_TOKEN": token}
    with submitted(log, *held_run, **home) as process:
        wait_for(lambda: dashboards(log), log.read_text)
        with Prometheus(tmp_path / "prometheus", dashboards(log)[0], token) as prometheus:
            awaited = USED - {AT_THE_END}
            wait_for(
                lambda: all(map(prometheus.ask, awaited)),
                lambda: (prometheus.targets(), {n for n in awaited if not prometheus.ask(n)}),
            )
            wait_for(
                lambda: prometheus.ask('ray_dfp_batch_pairs{state="done"} == 3'),
                lambda: (log.read_text(), prometheus.targets(), prometheus.said()),
            )
            check_values(prometheus, f"{tmp_path}/run")
            end_ray(process)
            wait_for(lambda: len(dashboards(log)) > 1, log.read_text)
        with Prometheus(tmp_path / "again", dashboards(log)[1], token) as prometheus:
            wait_for(
                lambda: prometheus.ask('ray_dfp_batch_pairs{state="done"} == 3'),
                lambda: (log.read_text(), prometheus.targets(), prometheus.said()),
            )
        (tmp_path / "go-on").touch()
        assert process.wait(DEADLINE_S) == 3, log.read_text()


def check_values(prometheus, run_url):
    """What is known of the run while its last pair waits."""
    one = prometheus.one
    assert {labels["run"] for name in USED for labels, _ in prometheus.ask(name)} == {run_url}
    states = {labels["state"]: value for labels, value in prometheus.ask("ray_dfp_batch_pairs")}
    assert states == {"done": 3, "failed": 1, "quarantined": 0, "running": 1, "pending": 0}
    # Two attempts at the busy one, of which the first is an error that may pass.
    attempts = prometheus.ask("ray_dfp_batch_attempts_total")
    assert {(labels["status"], labels.get("category"), value) for labels, value in attempts} == {
        ("ok", None, 3),
        ("error", "input", 1),
        ("error", "transient", 1),
    }
    assert one("ray_dfp_batch_retries_total") == 1
    assert one("ray_dfp_batch_output_pixels_total") == 3 * 40 * 48
    assert one("ray_dfp_batch_output_bytes_total") > 3 * 1000
    assert one('ray_dfp_batch_stages_total{stage="publish"}') == 3
    assert one('ray_dfp_batch_stage_seconds_total{stage="publish"}') > 0
    assert one('ray_dfp_batch_workers{device="cpu"}') >= 1
    assert one('ray_dfp_batch_workers{device="gpu"}') >= 0
    assert one("sum(ray_dfp_batch_running)") == 1
    assert 0 <= one("time() - ray_dfp_batch_heartbeat_timestamp_seconds") < 60
    assert one("ray_dfp_batch_remaining_seconds") > 0
    asked = [query.replace("$run", run_url) for query in dashboard_queries()]
    asked = [query for query in asked if AT_THE_END not in query]
    wait_for(  # of what is a rate there must be two values
        lambda: all(map(prometheus.ask, asked)),
        lambda: [query for query in asked if not prometheus.ask(query)],
    )
    assert prometheus.ask("ALERTS") == []


def end_ray(driver):
    """End the process with Ray, of which the driver has one."""
    (child,) = psutil.Process(driver.pid).children()
    child.kill()


@pytest.mark.slow
def test_on_a_cluster_the_end_of_a_session_is_told(make_archive, tmp_path, monkeypatch):
    """So that a driver that has died is not taken for one that has ended."""
    for name, value in SOON.items():
        monkeypatch.setenv(name, value)
    log = tmp_path / "log"
    with (
        RayHead() as head,
        Prometheus(tmp_path / "prometheus", head.url, head.token) as prometheus,
        submitted(
            log, make_archive(2), "--address", head.address, **head.home(tmp_path, head.token)
        ) as process,
    ):
        wait_for(
            lambda: prometheus.ask(f"last_over_time({AT_THE_END}[1h])"),
            lambda: (log.read_text(), prometheus.ask("up")),
        )
        assert process.wait(DEADLINE_S) == 0, log.read_text()
        said = prometheus.one(f"last_over_time({AT_THE_END}[1h])")
        heartbeat = "last_over_time(ray_dfp_batch_heartbeat_timestamp_seconds[1h])"
        assert said >= prometheus.one(f"max by (run) ({heartbeat})")
        assert prometheus.one('last_over_time(ray_dfp_batch_pairs{state="done"}[1h])') == 2
