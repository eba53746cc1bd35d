"""docker-compose.yml and the Dockerfile against the code: same processes as `setr up`, real settings, no root."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.local import up
from core.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
ENV_EXAMPLE = ROOT / "deploy" / ".env.example"

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
THEIRS = {name: service for name, service in SERVICES.items() if "build" not in service}
LONG_RUNNING = [name for name, service in SERVICES.items() if service["restart"] != "no"]
TORCH_QUEUES = {"embed", "embed.gpu", "query", "rerank"}

Command = tuple[str, frozenset[str]]


def command(argv: list[str] | tuple[str, ...]) -> Command:
    """`python -m MODULE --queues A,B` as (MODULE, {A, B})."""
    assert argv[1] == "-m"
    queues = argv[argv.index("--queues") + 1].split(",") if "--queues" in argv else []
    return argv[2], frozenset(queues)


def commands_of_setr_up(settings: Settings) -> set[Command]:
    return {command(child.argv) for child in up._processes(settings)}


def commands_of_compose(*, profile: str | None) -> set[Command]:
    return {
        command(service["command"])
        for name, service in OURS.items()
        if name in LONG_RUNNING and service.get("profiles", [None]) == [profile]
    }


def variables(text: str) -> dict[str, str]:
    """Interpolated variables and their defaults; `:?` variables have none and get an empty one."""
    return {
        name: default if operator == ":-" else ""
        for name, operator, default in re.findall(r"\$\{(\w+)(:[-?])([^}]*)\}", text)
    }


def default_of(value: str) -> str:
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def stages() -> dict[str, list[str]]:
    """Instructions by build stage."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in DOCKERFILE.read_text().splitlines():
        if line.startswith("FROM "):
            name = line.split()[-1]
            found[name] = []
        elif name:
            found[name].append(line)
    return found


def test_compose_starts_the_processes_of_setr_up() -> None:
    assert commands_of_compose(profile=None) == commands_of_setr_up(Settings())


def test_both_give_each_worker_the_same_variables_of_its_own() -> None:
    children = {child.name: child.env for child in up._processes(Settings())}
    assert children["worker-query"]["OPENBLAS_NUM_THREADS"] == "1"
    common, common_in_compose = children["beat"].items(), OURS["beat"]["environment"].items()
    for name in children.keys() - {"api", "beat"}:
        own = children[name].items() - common
        assert own == OURS[name]["environment"].items() - common_in_compose, name


def test_the_gpu_profile_starts_the_gpu_variants_of_setr_up() -> None:
    added = commands_of_compose(profile="gpu")
    assert added <= commands_of_setr_up(Settings(device="cuda"))
    assert {queue for _, queues in added for queue in queues} == {"embed", "embed.gpu", "rerank"}
    for name, service in OURS.items():
        if "profiles" in service:
            assert service["environment"]["SETR_DEVICE"] == "cuda", name
            assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"], name


@pytest.mark.parametrize("name", [name for name in OURS if name != "migrate"])
def test_only_processes_with_models_carry_torch(name: str) -> None:
    _, queues = command(OURS[name]["command"])
    assert OURS[name]["build"]["target"] == ("worker" if queues & TORCH_QUEUES else "api")


@pytest.mark.parametrize("path", [COMPOSE, DOCKERFILE, ENV_EXAMPLE], ids=lambda path: path.name)
def test_every_setting_named_exists(path: Path) -> None:
    named = {name.removeprefix(ENV_PREFIX).lower() for name in re.findall(r"\bSETR_[A-Z0-9_]+", path.read_text())}
    assert named
    assert named <= set(Settings.model_fields)


def test_the_example_lists_every_variable_with_its_default() -> None:
    lines = ENV_EXAMPLE.read_text().splitlines()
    listed = dict(line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?[A-Z0-9_]+=", line))
    required = {line.split("=", 1)[0] for line in lines if re.match(r"[A-Z0-9_]+=", line)}
    used = variables(COMPOSE.read_text())
    assert {name: listed.get(name) for name in used} == used
    assert required == {name for name, default in used.items() if not default}


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_by_tag(name: str) -> None:
    image, _, tag = default_of(SERVICES[name]["image"]).rpartition(":")
    assert image
    assert re.search(r"\d", tag), "a tag without a version moves"


def test_the_base_image_and_the_installer_are_pinned() -> None:
    arguments = dict(re.findall(r"^ARG (\w+)=(.+)$", DOCKERFILE.read_text(), flags=re.MULTILINE))
    assert re.fullmatch(r"python:3\.1[12]-slim-\w+", arguments["PYTHON_IMAGE"])
    assert re.fullmatch(r"[\d.]+", arguments["UV_VERSION"])


@pytest.mark.parametrize("stage", ["api", "worker"])
def test_our_images_do_not_run_as_root(stage: str) -> None:
    users = [line.split()[1] for line in stages()[stage] if line.startswith("USER ")]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


@pytest.mark.parametrize("name", THEIRS)
def test_foreign_images_do_not_run_as_root(name: str) -> None:
    service = THEIRS[name]
    assert service.get("user", "root") not in {"root", "0", 0} or service["x-own-user"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_has_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & set(service)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not [volume for volume in service.get("volumes", []) if volume.startswith(("/", "."))], "a host folder"
    if name in OURS:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_machine_only(name: str) -> None:
    assert all(default_of(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_what_runs_long_comes_back_and_shows_its_health(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert ("healthcheck" in service) != ("x-no-healthcheck" in service), "one of the two, the second with the reason"


def test_whoever_must_be_healthy_has_a_health_check() -> None:
    awaited = {
        dependency
        for service in SERVICES.values()
        for dependency, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }
    assert {name for name in awaited if "healthcheck" not in SERVICES[name]} == set()


def test_a_parallel_index_build_has_shared_memory() -> None:
    assert SERVICES["postgres"]["shm_size"] == "1gb"


def test_redis_never_evicts_a_message() -> None:
    argv = SERVICES["redis"]["command"]
    assert argv[argv.index("--maxmemory-policy") + 1] == "noeviction"
    assert argv[argv.index("--appendonly") + 1] == "yes"


def test_the_build_context_holds_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    files = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "models"}
    assert packages | files <= allowed
