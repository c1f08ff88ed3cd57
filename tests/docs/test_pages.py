"""The pages: links lead somewhere, commands and configurations are accepted, and nothing is left out."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import shlex
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from framepair import Clip, Frame, Match, Pair, Subscription, subscribe
from framepair.nodes.launcher import commands, options, topology, verbs
from framepair.protocol.client.subscriber import SubscriberStats
from framepair.protocol.wire import frame, pair, reasons, recorded, sync
from framepair.protocol.wire.header import VERSION, Header
from tests.lib import recordings
from tests.lib.pages import PAGES, blocks
from tests.lib.processes import ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```", re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
NODES = ("producer", "combiner", "relay", "sink", "recorder", "monitor", "recordings")
# Tried by hand, as each needs a network, an engine, a cluster or a long time.
BY_HAND = (
    "docker",
    "install",
    "kubectl",
    "python3",
    "systemctl",
    ".venv/bin/pip",
    "/opt/framepair/bin/pip",
)


def text(page: Path) -> str:
    return page.read_text()


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    kept = string.ascii_lowercase + string.digits + " -_"
    headings = HEADING.findall(CODE.sub("", text(page)))
    return {
        "".join(c for c in heading.lower() if c in kept).replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", text(page))):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_first_page_is_short() -> None:
    lines = text(ROOT / "README.md").splitlines()
    assert len(lines) <= 130
    assert max(map(len, lines)) <= 120


def lines_of_shell() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.splitlines():
                for command in line.split("&&"):
                    yield page, command


@pytest.mark.parametrize(("page", "line"), list(lines_of_shell()))
def test_a_command_is_accepted(
    page: Path, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(line, comments=True)
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.toml").write_text(blocks(ROOT / "docs" / "machines.md", "toml")[0])
    if re.search(r"\blane\b", line):
        (tmp_path / "lane").mkdir()
        recordings.write(tmp_path / "lane" / "20261129T112509.123Z.mcap")
    monkeypatch.setattr("platform.node", lambda: "nuc")
    # As the unit of systemd installs it.
    program = words[0].removeprefix(".venv/bin/").removeprefix("/opt/framepair/bin/")
    if words[0] in BY_HAND:
        return
    if program == "python" and words[1] == "-m":
        module = importlib.import_module(words[2])
        check_module(module.__name__, words[3:])
    elif program == "framepair" or words[:2] == [".venv/bin/python", "launch.py"]:
        check_launcher(words[1:] if program == "framepair" else words[2:])
    elif program in ("pytest", "ruff", "mypy"):
        paths = [ROOT / word for word in words[1:] if "/" in word]
        assert all(path.exists() for path in paths), line
    else:
        assert (ROOT / words[0]).exists(), f"{page.name}: {line}"


def check_launcher(words: list[str]) -> None:
    """Check that the launcher takes ``words``, and can make commands of them."""
    program = verbs.program(words)
    if program:
        check_module(program[0], program[1:])
        return
    asked = verbs.read(words)
    assert asked is not None
    if asked.keygen is None:
        planned = topology.plan(dataclasses.replace(asked, insecure=True))
        assert commands.table(asked, planned)


def check_module(name: str, words: list[str]) -> None:
    """Check that the module ``name`` takes ``words``; nothing is run."""
    benches = (
        "bench.containers",
        "bench.curve",
        "bench.decoding",
        "bench.floor",
        "bench.matching",
        "bench.monitor",
        "bench.newest",
    )
    if name in benches:
        module = importlib.import_module(name)
        parser = getattr(module, "parser", None)
        assert parser is None or parser.parse_args(words)
        return
    node = name.rpartition(".")[2]
    module = importlib.import_module(name)
    if not hasattr(module, "app"):
        module = importlib.import_module(f"{name}.main" if node in NODES else f"{name}.__main__")
    app = module.app
    app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks(page, "toml")], ids=lambda _: ""
)
def test_a_configuration_is_accepted(block: str, tmp_path: Path) -> None:
    assert tomllib.loads(block)
    file = tmp_path / "pipeline.toml"
    file.write_text(block)
    asked = options.parse(["--config", str(file), "--insecure"])
    assert topology.plan(dataclasses.replace(asked, host=asked.host or host(asked)))


def host(asked: options.Options) -> str | None:
    """Return the combiner's host, if the configuration has hosts."""
    hosts = dict(word.split("=") for word in asked.hosts)
    return hosts.get("combiner")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


def members(kind: type) -> set[str]:
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    names = {*vars(kind), *(field.name for field in fields)}
    return {name for name in names if not name.startswith("_")}


def in_code(page: str) -> set[str]:
    """Return the words that stand in code on a page."""
    spans = re.findall(r"`([^`\n]+)`", CODE.sub("", text(ROOT / "docs" / page)))
    return set(re.findall(r"\w+", " ".join(spans)))


@pytest.mark.parametrize("kind", [Pair, Clip, Frame, Match, Subscription, SubscriberStats])
def test_every_member_is_explained(kind: type) -> None:
    assert members(kind) - in_code("consumer.md") == set()


def test_every_argument_of_subscribe_is_explained() -> None:
    assert inspect.signature(subscribe).parameters.keys() - in_code("consumer.md") == set()


HEADERS: dict[str, type[msgspec.Struct]] = {
    "Frame": frame.FrameHeader,
    "Location": frame.Location,
    "Alive": frame.Alive,
    "Recorded clip": recorded.RecordedClip,
    "End of a source": frame.SourceEnd,
    "Pair": pair.PairHeader,
    "Clips": pair.ClipHeader,
    "Totals": pair.Totals,
    "End of the stream": pair.StreamEnd,
    "Ping": sync.Ping,
    "Pong": sync.Pong,
}


@pytest.mark.parametrize("section", HEADERS)
def test_every_field_of_every_header_is_explained(section: str) -> None:
    page = text(ROOT / "docs" / "wire.md")
    (found,) = re.findall(rf"^##+ {section}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    cells = " ".join(line.split("|")[1] for line in found.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`(\w+)`", cells))
    fields = {field.name for field in msgspec.structs.fields(HEADERS[section])} - {"v"}
    assert named == fields


def test_no_header_is_left_out() -> None:
    def all_of(kind: Any) -> Iterator[Any]:
        for inner in kind.__subclasses__():
            yield inner
            yield from all_of(inner)

    assert set(all_of(Header)) <= set(HEADERS.values())
    page = text(ROOT / "docs" / "wire.md")
    assert page.startswith(f"# The wire format, version {VERSION}\n")
    assert f"| `v` | {VERSION} |" in page


def test_every_reason_is_explained_as_the_code_does() -> None:
    page = text(ROOT / "docs" / "failures.md")
    for reason, meaning in reasons.MEANINGS.items():
        assert f"| `{reason}` | {meaning} |" in page
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    assert [row for row in rows if row not in reasons.MEANINGS] == []


def names_of_tests(path: Path) -> list[str]:
    """Return the names of the tests in a module, or in all modules of a folder."""
    modules = sorted(path.glob("test_*.py")) if path.is_dir() else [path]
    return [
        node.name
        for module in modules
        for node in ast.parse(module.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def test_every_promise_names_tests_that_are_there() -> None:
    page = text(ROOT / "docs" / "promises.md")
    promises = re.split(r"^\d+\. ", page, flags=re.MULTILINE)[1:]
    assert len(promises) >= 20
    for promise in promises:
        named = re.findall(r"^ +- (\S+)$", promise, re.MULTILINE)
        assert named, promise
        for name in named:
            path, _, function = name.partition("::")
            tests = names_of_tests(ROOT / path)
            assert function in tests if function else tests, name
