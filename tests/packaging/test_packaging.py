"""What is installed, from each kind of archive, works from any directory and is typed."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair import __version__
from tests.lib.processes import ROOT, Running

# What a working tree holds beside the project.
IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", "*.egg-info", "build", "dist", ".*_cache", ".hypothesis", "keys"
)
# Modules of these names must never be ours to import; a program of the user's may have its own.
FOREIGN = ("launch", "nodes", "protocol")
PROGRAM = """
from framepair import Clip, Pair, subscribe

def lag(pair: Pair) -> int:
    clip: Clip = pair["left"]
    return len(clip.frames)

for pair in subscribe("ipc:///tmp/pairs", keep=3):
    lag(pair)
reveal_type(subscribe)
reveal_type(pair)
"""
WRONG = """
from framepair import subscirbe
from framepair import subscribe

subscribe(5)
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command without the tests' own PYTHONPATH; return its output."""
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def checkout(place: Path) -> Path:
    """A copy of the project: to build leaves files in it."""
    return Path(shutil.copytree(ROOT, place / "checkout", symlinks=True, ignore=IGNORED))


@pytest.fixture(scope="session")
def dist(checkout: Path, place: Path) -> Path:
    """The directory of a source distribution, and of the wheel that was built from it."""
    out = place / "dist"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=checkout)
    return out


@pytest.fixture(scope="session")
def archive(checkout: Path, place: Path) -> Path:
    """A zip of the project as hosts of repositories make it: a link is an entry of its own kind."""
    path = place / "checkout.zip"
    with zipfile.ZipFile(path, "w") as file:
        for each in sorted(checkout.rglob("*")):
            name = f"framepair-main/{each.relative_to(checkout)}"
            if each.is_symlink():
                link = zipfile.ZipInfo(name)
                link.create_system = 3
                link.external_attr = (stat.S_IFLNK | 0o777) << 16
                file.writestr(link, str(each.readlink()))
            elif each.is_file():
                file.write(each, name)
    return path


@pytest.fixture(scope="session")
def foreign(place: Path) -> Path:
    """A directory with modules of the user's that must not be imported."""
    for name in FOREIGN:
        package = place / "foreign" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"raise ImportError('the foreign {name} is imported')")
    return place / "foreign"


def install(place: Path, name: str, *what: str | Path) -> Path:
    """Install into an empty environment, which has our dependencies; return its directory."""
    environment = place / name
    venv.create(environment, symlinks=True, with_pip=False)
    (packages,) = environment.glob("lib/python*/site-packages")
    # A .pth file there is not read: what is installed in the tests' environment stays unknown.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install")
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(*pip, *flags, *what, cwd=place)
    return environment


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("sdist", "zip")]


@pytest.fixture(scope="session", params=["wheel", "editable", *SLOW])
def environment(request: pytest.FixtureRequest, place: Path) -> Path:
    kind = request.param
    if kind == "editable":
        return install(place, kind, "--editable", request.getfixturevalue("checkout"))
    if kind == "zip":
        return install(place, kind, request.getfixturevalue("archive"))
    (path,) = request.getfixturevalue("dist").glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return install(place, kind, path)


def test_what_is_installed_works_from_any_directory(
    environment: Path, foreign: Path, place: Path, tmp_path: Path
) -> None:
    framepair = environment / "bin" / "framepair"
    seen = {"PYTHONPATH": str(foreign)}
    assert run(framepair, "--version", cwd=tmp_path, **seen) == f"framepair {__version__}\n"
    assert run(framepair, "commands", cwd=tmp_path, **seen).count("framepair.nodes.") == 4
    where = "import framepair; print(framepair.__file__)"
    file = Path(run(environment / "bin" / "python", "-c", where, cwd=tmp_path, **seen).strip())
    assert file.is_relative_to(place)
    run_dir = Path(tempfile.mkdtemp(prefix="fp-", dir=place))
    flags = ("--run-dir", run_dir, "--window", "0.2", "--json", tmp_path / "report.json")
    command: list[str | Path] = [framepair, "left=synthetic://160x120@25", *flags]
    with Running(command, env=seen, cwd=tmp_path) as running:
        running.wait_for(r"left 5/5", count=2)
        assert running.stop() == 0
        assert not any("foreign" in line for line in running.lines)
    assert (tmp_path / "report.json").exists()


def test_an_installation_brings_one_name(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    names = {path.name for path in packages.iterdir()} - {"dependencies.pth"}
    kinds = r"framepair|framepair-[0-9.]+\.dist-info|__editable__\.framepair-[0-9.]+\.pth"
    assert {name for name in names if not re.fullmatch(kinds, name)} == set()


@pytest.mark.parametrize("environment", ["wheel", "editable"], indirect=True)
def test_a_program_is_checked_strictly(environment: Path, place: Path, tmp_path: Path) -> None:
    def checked(text: str) -> list[str]:
        (tmp_path / "program.py").write_text(text)
        flags = ("--strict", "--cache-dir", place / "mypy", "--no-error-summary")
        inherited = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        # From the directory of the program: nothing of the project is near.
        command = [sys.executable, "-m", "mypy", *flags, "--python-executable"]
        done = subprocess.run(
            [*map(str, command), str(environment / "bin" / "python"), "program.py"],
            cwd=tmp_path, env=inherited, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.splitlines()

    signature, pair = checked(PROGRAM)
    assert "framepair.protocol.client.subscriber.Subscription" in signature
    assert "Any" not in signature
    assert pair.endswith('Revealed type is "framepair.protocol.client.clip.Pair"')
    missing, wrong = checked(WRONG)
    assert "subscirbe" in missing
    assert "[arg-type]" in wrong


def test_archives_are_as_an_index_wants_them(dist: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir(), cwd=dist)
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "check_wheel_contents", wheel, cwd=dist)


def test_the_monitors_page_is_in_the_archives(dist: Path) -> None:
    here = ROOT / "framepair" / "nodes" / "monitor" / "page"
    page = {path.relative_to(ROOT).as_posix() for path in here.iterdir()}
    assert len(page) >= 4
    (wheel,) = dist.glob("*.whl")
    assert page <= set(zipfile.ZipFile(wheel).namelist())
    (source,) = dist.glob("*.tar.gz")
    with tarfile.open(source) as file:
        assert page <= {name.partition("/")[2] for name in file.getnames()}


@pytest.mark.slow
def test_a_source_distribution_holds_its_tests(dist: Path, place: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as file:
        file.extractall(place / "source", filter="data")
    (source,) = (place / "source").iterdir()
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")}
    assert ours == {str(path.relative_to(source)) for path in (source / "tests").rglob("*.py")}
    assert {"compose.yaml", "Dockerfile", "launch.py", "bench", "deploy", "examples"} <= {
        path.name for path in source.iterdir()
    }
    # The links would be the package twice more.
    assert not (source / "nodes").exists()
    collect = ("-m", "pytest", "--collect-only", "-q", "-n", "0", "-p", "no:cacheprovider")
    assert " tests collected" in run(sys.executable, *collect, cwd=source).splitlines()[-1]
