"""The pods of deploy/kubernetes, as the engine runs them without a cluster: commands, volumes, rights, probes.

What a cluster adds (scheduling, policies of the network, who is ready for a service) is not tried here.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.test_compose import WHOLE, compose, has, image, run, wait
from tests.lib.processes import ROOT

__all__ = ["compose", "image"]

pytestmark = pytest.mark.timeout(600)
OVERLAYS = (".", "overlays/jpeg", "overlays/cameras", "overlays/consumer", "overlays/shm")
SMALL = "left=synthetic://160x120@25\nright=synthetic://160x120@25\n"
USER = 10001


@pytest.fixture
def manifests(directory: Path) -> Path:
    """Return a copy of the manifests with keys, and with sources that are small."""
    if not has("kubectl", "version", "--client"):
        pytest.skip("kubectl is not installed")
    copy = directory / "kubernetes"
    shutil.copytree(ROOT / "deploy" / "kubernetes", copy, ignore=shutil.ignore_patterns("keys"))
    (copy / "base" / "keys").mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    keys = ROOT / "deploy" / "container" / "keys.sh"
    run("sh", keys, copy / "base" / "keys", "producer", "consumer=", "monitor=", PATH=path)
    for place in "base", "overlays/cameras":
        (copy / place / "sources.env").write_text(SMALL)
    toml = copy / "overlays" / "shm" / "pipeline.toml"
    toml.write_text(toml.read_text().replace("synthetic://", "synthetic://160x120@25"))
    return copy


def resources(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what kustomize makes of a folder, by kind and name."""
    found = yaml.safe_load_all(run("kubectl", "kustomize", folder))
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


class Cluster:
    """Runs the containers of pods; a container is called like its pod, and itself."""

    def __init__(self, folder: Path, image: str, directory: Path) -> None:
        self.found = resources(folder)
        self._image = image
        self._name = f"fp{uuid.uuid4().hex[:8]}"
        # Shared memory, as a volume in memory is.
        self._volumes = Path("/dev/shm") / self._name
        self._volumes.mkdir(mode=0o755)
        run("docker", "network", "create", "--internal", self._name)

    def start(self, kind: str, name: str, pod: str) -> None:
        """Run a pod of a workload: what is there before its containers first."""
        spec = self.found[kind, name]["spec"]["template"]["spec"]
        volumes = {each["name"]: self._volume(pod, each) for each in spec["volumes"]}
        for container in spec.get("initContainers", ()):
            run("docker", "run", "--rm", *self._words(pod, spec, container, volumes))
        for container in spec["containers"]:
            named = ("--name", self.container(pod, container["name"]))
            run("docker", "run", "--detach", *named, *self._words(pod, spec, container, volumes))

    def container(self, pod: str, name: str) -> str:
        return f"{self._name}-{pod}-{name}"

    def is_well(self, kind: str, name: str, pod: str, probe: str) -> bool:
        """Tell whether a probe of each container of a pod succeeds."""
        return all(
            has(
                "docker", "exec", self.container(pod, each["name"]), *each[probe]["exec"]["command"]
            )
            for each in self.found[kind, name]["spec"]["template"]["spec"]["containers"]
        )

    def until_whole(self, pod: str, name: str) -> None:
        """Wait until the sink in a container prints a whole pair that is new."""
        seen = len(re.findall(WHOLE, self.logs(pod, name)))
        wait(lambda: len(re.findall(WHOLE, self.logs(pod, name))) > seen)

    def logs(self, pod: str, name: str) -> str:
        return run("docker", "logs", self.container(pod, name))

    def stop(self, pod: str, name: str) -> int:
        """End a container as a cluster does; return its exit code."""
        container = self.container(pod, name)
        run("docker", "stop", "--time", "10", container)
        code = run("docker", "inspect", "--format", "{{.State.ExitCode}}", container)
        run("docker", "rm", container)
        return int(code)

    def close(self) -> None:
        """Remove all that was made."""
        ours = run("docker", "ps", "--all", "--quiet", "--filter", f"name={self._name}").split()
        if ours:
            run("docker", "rm", "--force", *ours)
        run("docker", "network", "rm", self._name)
        shutil.rmtree(self._volumes)

    def _words(
        self, pod: str, spec: dict[str, Any], container: dict[str, Any], volumes: dict[str, Path]
    ) -> Iterator[str | Path]:
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"]
        assert not rights["allowPrivilegeEscalation"]
        assert spec["shareProcessNamespace"]
        yield from ("--init", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
        yield f"--user={spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}"
        # A service without an address of its own is a name for the pod's.
        yield from (f"--network={self._name}", f"--hostname={pod}", f"--network-alias={pod}")
        for each in container.get("env", ()):
            yield f"--env={each['name']}={each['value']}"
        for each in container.get("envFrom", ()):
            settings = self.found["ConfigMap", each["configMapRef"]["name"]]["data"]
            yield from (f"--env={name}={value}" for name, value in settings.items())
        for each in container["volumeMounts"]:
            mode = ":ro" if each.get("readOnly") else ""
            yield f"--volume={volumes[each['name']]}:{each['mountPath']}{mode}"
        words: list[str] = [*container["command"], *container.get("args", ())]
        yield from (f"--entrypoint={words[0]}", self._image, *words[1:])

    def _volume(self, pod: str, volume: dict[str, Any]) -> Path:
        """Return a folder with what a volume holds, with the owners and modes that a cluster gives it."""
        path = self._volumes / f"{pod}-{volume['name']}"
        if path.exists():
            shutil.rmtree(path)
        path.mkdir()
        for name, content in self._content(volume).items():
            (path / name).write_bytes(content)
            (path / name).chmod(0o440)
            os.chown(path / name, 0, USER)
        os.chown(path, 0, USER)
        path.chmod(0o2777 if "emptyDir" in volume else 0o2755)
        return path

    def _content(self, volume: dict[str, Any]) -> dict[str, bytes]:
        if "secret" in volume:
            data = self.found["Secret", volume["secret"]["secretName"]]["data"]
            return {name: base64.b64decode(text) for name, text in data.items()}
        if "configMap" in volume:
            data = self.found["ConfigMap", volume["configMap"]["name"]]["data"]
            return {name: text.encode() for name, text in data.items()}
        return {}


@pytest.fixture
def cluster(
    request: pytest.FixtureRequest, manifests: Path, image: str, directory: Path
) -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("only root can give files the owners that a cluster gives them")
    cluster = Cluster(manifests / request.param, image, directory)
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_overlay_is_one_pipeline(manifests: Path, overlay: str) -> None:
    found = resources(manifests / overlay)
    workloads = [each for (kind, _), each in found.items() if kind in ("Deployment", "StatefulSet")]
    assert workloads
    for each in workloads:
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()
        for container in each["spec"]["template"]["spec"]["containers"]:
            assert re.fullmatch(r"framepair:[\d.]+", container["image"])
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_prometheus_is_told_where_the_monitor_is_and_what_its_token_is(manifests: Path) -> None:
    overlay = manifests / "overlays" / "jpeg" / "kustomization.yaml"
    overlay.write_text(overlay.read_text() + "components: [../../components/monitoring]\n")
    found = resources(overlay.parent)
    [endpoint] = found["PodMonitor", "framepair"]["spec"]["podMetricsEndpoints"]
    token = endpoint["authorization"]["credentials"]
    assert token["key"] in found["Secret", token["name"]]["data"]
    selected = found["PodMonitor", "framepair"]["spec"]["selector"]["matchLabels"]
    monitor = found["Deployment", "monitor"]["spec"]["template"]
    assert selected.items() <= monitor["metadata"]["labels"].items()
    [port] = monitor["spec"]["containers"][0]["ports"]
    assert port["name"] == endpoint["port"]


@pytest.mark.parametrize("cluster", ["overlays/jpeg"], indirect=True)
def test_pods_make_pairs_are_ready_and_find_a_combiner_that_is_new(cluster: Cluster) -> None:
    pods = (
        ("Deployment", "combiner", "combiner"),
        *(("StatefulSet", "producer", f"producer-{number}") for number in range(2)),
        ("Deployment", "monitor", "monitor"),
        ("Deployment", "sink", "sink"),
    )
    assert cluster.found["StatefulSet", "producer"]["spec"]["replicas"] == 2
    for kind, name, pod in pods:
        cluster.start(kind, name, pod)
    for kind, name, pod in pods:
        for probe in "startupProbe", "livenessProbe", "readinessProbe":
            wait(lambda one=(kind, name, pod, probe): cluster.is_well(*one))  # type: ignore[misc]
    cluster.until_whole("sink", "sink")
    assert cluster.stop("combiner", "combiner") == 0
    wait(lambda: not cluster.is_well(*pods[-1], "readinessProbe"))
    assert cluster.is_well(*pods[-1], "livenessProbe")
    cluster.start(*pods[0])
    cluster.until_whole("sink", "sink")
    # The list has two sources only.
    cluster.start("StatefulSet", "producer", "producer-2")
    wait(lambda: "no source 2" in cluster.logs("producer-2", "producer"))
    assert [cluster.stop(pod, name) for _, name, pod in pods] == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("cluster", ["overlays/shm"], indirect=True)
def test_one_pod_with_shared_memory_makes_pairs(cluster: Cluster) -> None:
    pod = ("Deployment", "pipeline", "pipeline")
    cluster.start(*pod)
    for probe in "startupProbe", "livenessProbe", "readinessProbe":
        wait(lambda one=probe: cluster.is_well(*pod, one))  # type: ignore[misc]
    cluster.until_whole("pipeline", "sink")
    assert [cluster.stop("pipeline", name) for name in ("sink", "pipeline")] == [0, 0]


@pytest.mark.parametrize("cluster", ["overlays/consumer"], indirect=True)
def test_a_consumer_of_ones_own_gets_pairs(cluster: Cluster) -> None:
    assert ("Deployment", "sink") not in cluster.found
    for kind, name, pod in (
        ("Deployment", "combiner", "combiner"),
        ("StatefulSet", "producer", "producer-1"),
        ("Deployment", "model", "model"),
    ):
        cluster.start(kind, name, pod)
    wait(lambda: "right 25 complete" in cluster.logs("model", "model"))
