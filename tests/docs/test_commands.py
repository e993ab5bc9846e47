"""Every command in README and docs/ is one: parsed by what would take it."""

import re
import tomllib

import pytest
import typer
import yaml
from ray.scripts.scripts import cli as ray_cli

from dfp_batch import cli
from dfp_batch.cli import examples
from dfp_batch.config.run_config import parse_setting, run_config
from page_commands import PAGES, ROOT, mentioned, shown

APP = typer.main.get_command(cli.app)
SHOWN = [command for page in PAGES for command in (*shown(page), *mentioned(page))]
MAKEFILE = (ROOT / "Makefile").read_text()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
KUBERAY = "\n".join(path.read_text() for path in (ROOT / "infra" / "kuberay").glob("*.yaml"))


def ours(words):
    if words == ["--install-completion"]:
        assert words[0] in {name for one in APP.params for name in one.opts}
        return
    assert "..." not in words, "an option that is left out cannot be checked"
    APP.commands[words[0]].make_context(words[0], words[1:])


def rays(words):
    group = ray_cli.commands[words[0]]
    group.make_context(words[0], words[1:])
    assert all((ROOT / word).is_file() for word in words if word.endswith(".yaml"))


def makes(words):
    targets = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()
    assert set(words) <= set(targets)


def pythons(words):
    assert (ROOT / words[0]).is_file()


def pips(words):
    assert words[0] == "install"
    for name in re.findall(r"dfp-batch\[(\w+)\]", words[1]):
        assert name in EXTRAS


def dockers(words):
    head = (ROOT / "infra" / "Dockerfile").read_text()
    assert " ".join(["docker", *words]) in re.sub(" +", " ", head)


def kubectls(words):
    """Files and names are those of the manifests."""
    assert words[0] in {"apply", "create", "get", "logs", "port-forward"}
    for file in [word for word in words if word.endswith(".yaml")]:
        assert yaml.safe_load((ROOT / file).read_text())
    for name in re.findall(r"dfp-batch-token|dfp-batch-storage", " ".join(words)):
        assert name in KUBERAY
    if service := re.search(r"service/(\S+)-head-svc", " ".join(words)):
        assert f"name: {service[1]}\n" in KUBERAY


def shells(words):
    assert words


TAKEN_BY = {
    "dfp-batch": ours,
    "ray": rays,
    "make": makes,
    "python": pythons,
    "pip": pips,
    "docker": dockers,
    "kubectl": kubectls,
    "export": shells,
    "mv": shells,
    "source": shells,
}


@pytest.mark.parametrize("command", SHOWN, ids=lambda command: f"{command.page}: {command.text}")
def test_a_command_is_one(command):
    program, *words = command.words
    TAKEN_BY[program](words)


def test_the_check_sees_a_slip():
    with pytest.raises(Exception, match="--scael"):
        ours(["submit", "PHOTOS", "--scael", "2"])
    with pytest.raises(KeyError):
        ours(["sumbit", "PHOTOS"])
    with pytest.raises(AssertionError):
        pips(["install", "dfp-batch[rwa]"])


def test_pages_show_commands():
    assert len(SHOWN) > 60
    assert {command.page for command in SHOWN} >= {"README.md", "docs/tutorial.md"}


def test_the_examples_of_settings_are_settings():
    """Whatever stands behind --set in help and examples is taken."""
    said = [option.help for command in APP.commands.values() for option in command.params]
    lines = [line for found in examples.EXAMPLES.values() for line in found]
    texts = " ".join([*filter(None, said), *lines])
    settings = set(re.findall(r"[a-z]+(?:\.[a-z_]+)+=[\w.-]+", texts))
    assert settings
    for setting in settings:
        run_config("fast", None, dict([parse_setting(setting)]))
