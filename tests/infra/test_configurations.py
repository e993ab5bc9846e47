"""Clusters as they are described: checked against the schemas of Ray and of KubeRay, offline."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
KUBERAY = json.loads((Path(__file__).parent / "kuberay.json").read_text())


def kuberay(name):
    """The manifest and, whatever its kind, the description of its cluster."""
    manifest = yaml.safe_load((ROOT / "infra" / "kuberay" / name).read_text())
    return manifest, manifest["spec"].get("rayClusterSpec", manifest["spec"])


@pytest.fixture(params=["raycluster.yaml", "rayjob.yaml"])
def manifest(request):
    return kuberay(request.param)


def launcher(name):
    return yaml.safe_load((ROOT / name).read_text())


@pytest.mark.parametrize("name", ["ray_cluster.yaml", "ray_cluster_local.yaml"])
def test_the_launcher_takes_it(name):
    config = launcher(name)
    validate_config(prepare_config(copy.deepcopy(config)))
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config({**config, "idle_timeout": 5}))


@pytest.mark.parametrize("name", ["ray_cluster.yaml", "ray_cluster_local.yaml"])
def test_the_launcher_keeps_the_token_on_and_the_dashboard_on_the_head(name):
    config = launcher(name)
    (head,) = [text for text in config["head_start_ray_commands"] if "ray start" in text]
    (worker,) = [text for text in config["worker_start_ray_commands"] if "ray start" in text]
    assert "RAY_AUTH_MODE=token" in head
    assert "RAY_AUTH_MODE=token" in worker
    assert "RAY_idle_worker_killing_time_threshold_ms=60000" in worker  # decision 0022
    assert "--num-cpus=0" in head
    assert "--dashboard-host=127.0.0.1" in head
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_on_aws_workers_start_from_none_and_gpus_are_spot():
    config = launcher("ray_cluster.yaml")
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert [types[name]["min_workers"] for name in ("cpu", "gpu")] == [0, 0]
    assert all("IamInstanceProfile" in each["node_config"] for each in types.values())


def test_kuberay_takes_it_and_would_see_a_slip(manifest):
    document, cluster = manifest
    schema = KUBERAY[document["kind"]]
    jsonschema.validate(document, schema)
    cluster["authOption"] = cluster.pop("authOptions")
    with pytest.raises(jsonschema.ValidationError, match="authOption"):
        jsonschema.validate(document, schema)


def test_on_kubernetes_the_head_computes_nothing_and_workers_start_from_none(manifest):
    _, cluster = manifest
    assert cluster["rayVersion"] == ray.__version__
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["enableInTreeAutoscaling"] is True
    assert {group["minReplicas"] for group in cluster["workerGroupSpecs"]} == {0}
    (gpu,) = [group for group in cluster["workerGroupSpecs"] if group["groupName"] == "gpu"]
    (container,) = gpu["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_on_kubernetes_secrets_are_references(manifest):
    _, cluster = manifest
    assert cluster["authOptions"] == {"mode": "token", "secretName": "dfp-batch-token"}
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        values = {variable["name"] for variable in container["env"] if "value" in variable}
        assert values == {"AWS_REGION"}


def test_both_manifests_describe_one_cluster():
    assert kuberay("raycluster.yaml")[1] == kuberay("rayjob.yaml")[1]
