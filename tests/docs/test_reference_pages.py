"""Reference pages hold all that is in the code, and README the figures of the records."""

import json
import re
import sys
from dataclasses import fields

import pytest
import typer

from dfp_batch import cli, errors
from dfp_batch.cli.exit_codes import ExitCode
from dfp_batch.config.registry import COMPONENTS
from dfp_batch.runs import columns
from dfp_batch.runs.attempts import SCHEMA
from page_commands import DOCS, ROOT

SPEED = ROOT / "tests" / "benchmarks" / "results" / "speed"


@pytest.fixture(scope="module")
def made():
    """What is made from the code, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        import reference_pages  # noqa: PLC0415 - of docs/, which is no package

        yield {name: make() for name, make in reference_pages.MADE.items()}
    for name in ("reference_pages", "part_pages"):
        del sys.modules[name]


def test_every_option_is_described(made):
    for name, command in typer.main.get_command(cli.app).commands.items():
        section = made["options"].partition(f"## {name}\n")[2].partition("\n## ")[0]
        for one in [one for one in command.params if "--help" not in one.opts]:
            shown = one.opts[0] if one.param_type_name == "option" else one.name.upper()
            (row,) = [line for line in section.split("\n") if line.startswith(f"| `{shown}`")]
            assert row.split(" | ")[-1].strip(" |"), f"{name} {shown} has no help"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("manifest-columns", columns.MANIFEST), ("result-columns", columns.RESULTS)],
)
def test_every_column_is_described(made, name, expected):
    rows = made[name].splitlines()[2:]
    assert [re.match(r"\| `(\w+)`", row)[1] for row in rows] == [one.name for one in expected]
    assert all(one.meaning.endswith(".") for one in expected)


def test_the_schema_is_made_of_the_columns():
    assert [one.name for one in columns.RESULTS] == SCHEMA.names
    assert len(set(SCHEMA.names)) == len(SCHEMA.names)


def test_every_error_says_what_to_do(made):
    rows = [line.split(" | ") for line in made["errors"].splitlines()[2:]]
    kinds = {name for name, one in vars(errors).items() if isinstance(one, type)} - {"DfpError"}
    assert {row[0].strip("| `") for row in rows} == {name for name in kinds if "Error" in name}
    assert all(row[4].strip(" |") for row in rows)
    assert set(errors.MEANINGS) == {row[1].strip("`") for row in rows}
    assert {int(row[2]) for row in rows} <= set(ExitCode)


def test_every_part_has_its_settings(made):
    for part in [part for seam in COMPONENTS.values() for part in seam.values()]:
        for one in fields(part):
            assert f"| `{one.name}` |" in made["parts"]


def test_every_place_where_the_method_leaves_the_paper_is_listed(made):
    package = ROOT / "dfp_batch"
    said = sum(path.read_text().count("Differs from the") for path in package.rglob("*.py"))
    assert made["differences"].count("Differs from the") == said > 5


def test_every_decision_is_listed(made):
    for path in DOCS.glob("decisions/0*.md"):
        assert f"({path.name})" in made["decisions"]


@pytest.mark.parametrize(
    ("row", "record", "digits"),
    [("core-seconds, 10", "x1-10-frames-3mp", 1), ("PSNR of", "quality", 1)],
)
def test_the_figures_of_readme_are_those_of_the_records(row, record, digits):
    content = json.loads((SPEED / f"{record}.json").read_text())
    values = content if record == "quality" else content["results"]
    (line,) = [one for one in (ROOT / "README.md").read_text().split("\n") if f"| {row}" in one]
    for name in ("classical", "fast", "focus-stack", "enfuse"):
        value = values[name] if record == "quality" else values[name]["core_s"]["median"]
        ours = f" `{name}`" if name in {"classical", "fast"} else ""
        assert f"{value:.{digits}f}{ours}" in line
