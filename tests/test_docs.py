"""What the documentation points at exists: files, headings, commands, parameters."""

from __future__ import annotations

import itertools
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kedro.framework.project import find_pipelines
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).resolve().parents[1]
PIPELINES = PROJECT / "src" / "crossprobe" / "pipelines"
PAGES = sorted(
    [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *PIPELINES.glob("*/README.md")],
    key=lambda page: page.relative_to(PROJECT).as_posix(),
)
# Parameters of a run that no model types.
PLAIN = {"scale", "reverse", "salt", "devices", "zero_shift", "image_size"}
PLAIN |= {f"{site}.site" for site in ("source", "target", "second_source")}
CLASSIFIERS = ("breast", "breast_in_domain", "transfer", "fetal")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())


def links(text: str) -> list[str]:
    """Targets of links and pictures, without those that lead out of the project and those in code."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """Names that headings get in the usual renderers of Markdown."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def commands(text: str, start: str) -> list[str]:
    """Commands in the text or its blocks that begin so, each up to its end."""
    text = text.replace("\\\n", " ")
    return re.findall(rf"(?<![\w./-]){re.escape(start)}\b[^`\n#|]*", text)


def option(command: str, name: str) -> str | None:
    found = re.search(rf"--{name}[= ]\"?([^\"\s]+)", command)
    return found.group(1) if found else None


@pages
def test_relative_links_resolve(page):
    for target in links(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), f"{page.name} links to {target}"


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    assert (tmp_path / "site" / "index.html").is_file()


@pages
def test_named_make_targets_exist(page):
    targets = set(re.findall(r"^(\w+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"run", "test"} <= targets
    text = page.read_text(encoding="utf-8")
    for named in re.findall(r"`make (?:\w+=\S+ )?(\w+)`|^make (\w+)", text, flags=re.MULTILINE):
        assert set(named) & targets, f"{page.name} names make {named}"


@pages
def test_named_runs_name_what_exists(page):
    names = {folder.parent.name for folder in PIPELINES.glob("*/pipeline.py")}
    environments = {folder.name for folder in (PROJECT / "conf").iterdir() if folder.is_dir()}
    text = page.read_text(encoding="utf-8")
    # A page may show how to make an environment of one's own, and others may use it.
    for shown in PAGES:
        own = r"^`conf/(\w+)/parameters\.yml`:$"
        environments |= set(re.findall(own, shown.read_text(encoding="utf-8"), flags=re.MULTILINE))
    for command in commands(text, "kedro run"):
        pipeline, environment = option(command, "pipeline"), option(command, "env")
        assert pipeline in {None, "<name>", *names}, f"{page.name}: {command}"
        assert environment in {None, "<name>", *environments}, f"{page.name}: {command}"


@pages
def test_parameters_on_command_lines_are_documented(page, documented):
    for command in commands(page.read_text(encoding="utf-8"), "kedro run"):
        for pair in (option(command, "params") or "").split(","):
            key = pair.partition("=")[0]
            assert not key or key in PLAIN or key in documented, f"{page.name}: {key} in {command}"


def test_the_readme_shows_the_two_commands_and_what_they_stand_for():
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    for command in ("make run", "make test", "pip install -e", "kedro run --pipeline=cross_domain"):
        assert re.search(rf"^{re.escape(command)}", text, flags=re.MULTILINE), command
    for name in ("phantom", "busbra"):
        assert re.search(rf"<!-- results:{name} -->\n\|.*<!-- /results:{name} -->", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def generator():
    return runpy.run_path(str(PROJECT / "docs" / "generate_parameters.py"))


@pytest.fixture(scope="module")
def documented(generator) -> set[str]:
    """Every key of the reference page, written as on a command line."""
    found = set()
    for block, model, _ in generator["BLOCKS"]:
        keys = [re.match(r"\| `([^`]+)`", row).group(1) for row in generator["rows"](model)]
        for site, study in itertools.product(("source", "target", "second_source"), CLASSIFIERS):
            prefix = block.replace("<site>", site).replace("<study>", "cross_domain")
            prefix = prefix.replace("<classifiers>", study)
            found |= {prefix, *(f"{prefix}.{key}" for key in keys)}
    return found


def test_the_parameters_page_is_current(generator):
    page = generator["PAGE"].read_text(encoding="utf-8")
    assert page == generator["page"](), "run: python docs/generate_parameters.py"


def test_every_parameter_of_every_pipeline_is_documented(documented):
    bootstrap_project(PROJECT)
    used = {
        name.removeprefix("params:").replace(".ablations.", ".cross_domain.")
        for pipeline in find_pipelines(raise_errors=True).values()
        for name in pipeline.inputs()
        if name.startswith("params:")
    }
    arms = re.compile(rf"studies\.cross_domain\.\w+\.\w+|({'|'.join(CLASSIFIERS)})\.arms\.\w+")
    assert {"model", "finetuning", "source.raw"} <= used
    assert {name for name in used if not arms.fullmatch(name)} <= documented | PLAIN


def test_every_pipeline_has_a_readme():
    for pipeline in PIPELINES.glob("*/pipeline.py"):
        text = (pipeline.parent / "README.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {pipeline.parent.name}\n")
        assert all(f"**{part}**" in text for part in ("Inputs", "Outputs", "Parameters"))


def test_the_citation_names_its_sources():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version"} <= set(citation)
    values = [entry.get("doi") or entry["identifiers"][0]["value"] for entry in citation["references"]]
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(values) == 5
    assert all(value in readme for value in values)


def test_extras_are_installed_from_the_checkout():
    """The public index may hold another project by this name, and an error message is followed blindly."""
    sources = [*PAGES, *(PROJECT / "src").rglob("*.py")]
    asked = [str(file) for file in sources if re.search(r"pip install\W+crossprobe", file.read_text())]
    assert asked == []


def test_options_that_switch_off_and_are_named_in_messages_exist():
    code = "\n".join(file.read_text() for file in (PROJECT / "src").rglob("*.py"))
    assert set(re.findall(r"\((--no-[a-z-]+)", code)) <= set(re.findall(r"/(--no-[a-z-]+)", code))
