"""Sites: what is valid, what is refused and how it is said, and that no secret is repeated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from coevo.configs.describing import describe_keys
from coevo.configs.site_loading import example_names, example_text, find_site, load_site, parse_site, resolved
from coevo.configs.site_tree import Site
from coevo.configs.yaml_tree import write_value
from coevo.errors import ConfigError

SECRET = "h%40rd-to-guess"
CLUSTER = {"COEVO_DATABASE": "mongodb://h/c", "COEVO_ARTIFACTS": "file:///x/artifacts", "COEVO_LOCAL_CLUSTER": "/x"}
ENVIRONMENT = {"HOME": "/home/me", "MONGO_USER": "me", "MONGO_PASSWORD": SECRET, **CLUSTER}
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sites.md").read_text(encoding="utf-8")


def site_text(**changes: Any) -> str:
    """A short valid site, with keys (``classes.gpu.walltime`` as ``classes__gpu__walltime``) changed; None removes one."""
    data: dict[str, Any] = {
        "site": "here",
        "database": "mongodb://host/coevo",
        "artifacts": "s3://bucket/coevo",
        "directory": "/scratch/me",
        "environments": {"default": {"commands": ["true"]}},
        "classes": {name: {"partition": "p", "walltime": "1:00:00"} for name in ("gpu", "screen", "label", "small")},
    }
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        section = data
        for part in parents:
            section = section[part]
        section[last] = value
        if value is None:
            del section[last]
    return "\n".join(f"{key}: {write_value(value)}" for key, value in data.items()) + "\n"


def problem_of(text: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_site(text, "s.yaml", environment or {})
    return str(caught.value)


@pytest.mark.parametrize("name", example_names())
def test_every_example_is_valid(name: str) -> None:
    loaded = parse_site(example_text(name), name, ENVIRONMENT)
    assert loaded.site.queue == ("none" if name == "workstation" else "slurm")
    assert SECRET not in str(resolved(loaded))


def test_variables_are_expanded_except_in_shell() -> None:
    site = parse_site(example_text("gpu-slurm"), "s", ENVIRONMENT).site
    assert site.database == f"mongodb://me:{SECRET}@mongo.example.org/coevo"
    assert site.launchpad_server == (site.database, "coevo_launchpad")
    assert site.environments["default"].commands == (". ${HOME}/coevo-venv/bin/activate",)


def test_the_digest_is_that_of_the_file_without_its_passwords() -> None:
    one = parse_site(example_text("gpu-slurm"), "a", ENVIRONMENT)
    other = parse_site(example_text("gpu-slurm"), "b", {**ENVIRONMENT, "MONGO_PASSWORD": "another"})
    assert one.digest == other.digest
    literal = [parse_site(site_text(database=f"mongodb://u:{word}@host/coevo"), "s", {}).digest for word in ("one", "two")]
    assert literal[0] == literal[1] != parse_site(site_text(), "s", {}).digest
    assert parse_site(site_text(retries=4), "s", {}).digest != parse_site(site_text(), "s", {}).digest


def test_what_is_shown_has_defaults_and_no_secret() -> None:
    text = site_text(
        database="mongodb://${MONGO_USER}:${MONGO_PASSWORD}@a,b:27018/coevo?authSource=admin&tlsCertificateKeyFilePassword=topsecret",
        environments={
            "default": {
                "variables": {
                    "AWS_SECRET_ACCESS_KEY": "literal",
                    "FROM_SHELL": "${MONGO_PASSWORD}",
                    "URI": "redis://u:p4ss@h/",
                    "COEVO_PSEUDOPOTENTIALS": "${HOME}/upf",
                    "COEVO_WORKERS": 3,
                }
            }
        },
    )
    shown = resolved(parse_site(text, "s", ENVIRONMENT))
    assert shown["database"] == "mongodb://***@a,b:27018/coevo"
    assert shown["launchpad"] == "mongodb://***@a,b:27018/coevo_launchpad"
    assert shown["environments"]["default"]["variables"] == {
        "AWS_SECRET_ACCESS_KEY": "***",
        "FROM_SHELL": "***",
        "URI": "***",
        "COEVO_PSEUDOPOTENTIALS": "/home/me/upf",
        "COEVO_WORKERS": "3",
    }
    assert shown["classes"]["gpu"]["max_in_queue"] == 20
    assert not [word for word in (SECRET, "topsecret", "literal", "p4ss") if word in str(shown)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"classes__gpu__walltime": "8h"}, "classes.gpu.walltime: '8h' is no walltime; allowed: M, M:S, H:M:S"),
        ({"classes__gpu__walltime": None}, "classes.gpu.walltime: missing (limit of a job)"),
        ({"classes__gpu__memory": "16 G"}, "classes.gpu.memory: got '16 G', allowed: a whole number and K, M, G or T"),
        ({"classes__gpu__memory": "16GiB"}, "classes.gpu.memory: got '16GiB'"),
        ({"classes__gpu__memory": -1}, "classes.gpu.memory: got '-1'"),
        ({"classes__gpu__longer_walltimes": ["2:00:00", "90"]}, "longer_walltimes: 90 is not longer than 2:00:00"),
        ({"classes__gpu__longer_walltimes": ["60"]}, "longer_walltimes: 60 is not longer than 1:00:00"),
        ({"classes__gpu__packed_reserve": "60"}, "packed_reserve: 60 leaves nothing of the walltime 1:00:00"),
        ({"classes__gpu__partition": "a b"}, "classes.gpu.partition: got 'a b', allowed: a name, or several joined by commas"),
        ({"classes__gpu__partition": "a\n#SBATCH --wrap=x"}, "classes.gpu.partition: got 'a\\n#SBATCH --wrap=x'"),
        ({"classes__gpu__partition": "a\n"}, "classes.gpu.partition: got 'a\\n'"),
        ({"classes__gpu__gres": "gpu 1"}, "classes.gpu.gres: got 'gpu 1', allowed: name:count"),
        ({"classes__gpu__constraint": "a & b"}, "classes.gpu.constraint: got 'a & b'"),
        ({"classes__gpu__account": "a;rm"}, "classes.gpu.account: got 'a;rm'"),
        (
            {"classes__gpu__extra": ["mail-type=FAIL"]},
            "classes.gpu.extra[0]: got 'mail-type=FAIL', allowed: one option of sbatch",
        ),
        ({"classes__gpu__extra": ["--hint=x", "-p other"]}, "classes.gpu.extra[1]: got '-p other'"),
        ({"classes__gpu__extra": ["--comment=mine"]}, "--comment is not allowed: coevo gives it itself"),
        ({"classes__gpu__extra": ["--partition=x"]}, "--partition has a key of its own; write partition: … instead"),
        ({"classes__gpu__extra": ["--mail-user='a'"]}, "classes.gpu.extra[0]: got \"--mail-user='a'\""),
        ({"classes__gpu__nodes": 0}, "classes.gpu.nodes: got 0, allowed: an integer >= 1 and <= 10000"),
        ({"classes__gpu__mode": "pack"}, "classes.gpu.mode: got pack, allowed: one of single, packed"),
        (
            {"classes__gpu__partitoin": "x"},
            "classes.gpu.partitoin: unknown key; did you mean partition?; allowed keys: environment,",
        ),
        ({"classes__gpu__environment": "torch"}, "classes.gpu.environment: got 'torch', allowed: default"),
        ({"classes__label": None}, "classes.label: missing, allowed: a mapping of environment, partition"),
        ({"classes__gpu": "x"}, "classes.gpu: got x, allowed: a mapping of environment, partition"),
        ({"classes__cpu": {}}, "classes.cpu: unknown key"),
        ({"queue": "none"}, "classes.gpu.partition: means nothing with queue: none; allowed: environment"),
        ({"workers": 2}, "workers: only with queue: none"),
        ({"queue": "pbs"}, "queue: got pbs, allowed: one of slurm, none"),
        ({"site": "My Site"}, "site: got My Site, allowed: text matching"),
        ({"ping_seconds": 1}, "ping_seconds: got 1, allowed: an integer >= 5 and <= 3600"),
        ({"directory": "scratch"}, "directory: got 'scratch', allowed: an absolute path"),
        ({"directory": "/a b"}, "directory: got '/a b', allowed: an absolute path"),
        ({"directory": "/a/../b"}, "directory: '/a/../b' has a .. in it"),
        ({"directory": "/a/$(rm)"}, "directory: got '/a/$(rm)'"),
        ({"artifacts": "/shared/blobs"}, "artifacts: not a URI"),
        ({"artifacts": "memory://x"}, "artifacts: memory:// lives in one process; allowed: s3://…, gs://… or file:///DIRECTORY"),
        ({"artifacts": "file://shared"}, "artifacts: file:// needs an absolute directory"),
        ({"database": "file:/srv/nodes"}, "database: an embedded database (file:) serves one process at a time"),
        ({"database": "mongodb://host"}, "database: not a MongoDB URI (the value is not shown)"),
        ({"database": "mongodb://host/?tls=true"}, "database: the URI names no database"),
        ({"launchpad": "http://host/x"}, "launchpad: not a MongoDB URI"),
        ({"environments": {}}, "environments: got a value that is not shown, allowed: a mapping of names to mappings"),
        ({"environments__default__commands": ["echo $$"]}, "environments.default.commands[0]: 'echo $$' holds $$"),
        ({"environments__default__commands": ["a\\"]}, "ends in a backslash"),
        ({"environments__default__commands": ["a\nb"]}, "allowed: one line of shell; several lines are several items"),
        ({"environments__default__modules": ["-x"]}, "environments.default.modules[0]: got '-x', allowed: one module"),
        (
            {"environments__default__variables": {"A B": "x"}},
            "environments.default.variables: got 'A B', allowed: a name of letters",
        ),
        ({"environments__default__variables": {"COEVO_DATABASE": "x"}}, "COEVO_DATABASE is not allowed: workers get it from"),
        (
            {"environments__default__variables": {"COEVO_WORKER": "2"}},
            "COEVO_WORKER is no setting of coevo; did you mean COEVO_WORKERS?",
        ),
        ({"environments__default__module": ["x"]}, "environments.default.module: unknown key; did you mean modules?"),
        ({"environments__a b": {}}, "environments: 'a b' is no name"),
    ],
)
def test_what_is_refused_says_where_what_and_what_is_allowed(changes: dict[str, Any], told: str) -> None:
    text = site_text(**changes)
    message = problem_of(text)
    assert told in message
    line = int(re.match(r"s\.yaml:(\d+): ", message)[1])
    assert text.splitlines()[line - 1].startswith((*{key.split("__")[0] for key in changes}, "classes"))


def test_everything_wrong_is_told_at_once() -> None:
    lines = problem_of(site_text(artifacts="memory://x", classes__gpu__memory="x", retries=-1)).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["artifacts", "classes.gpu.memory", "retries"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("mongodb://${NOBODY}@host/coevo", "database: the environment variable NOBODY is not set; export NOBODY=…"),
        ("mongodb://${EMPTY}@host/coevo", "database: the environment variable EMPTY is empty"),
        ("mongodb://${PW:-x}@host/coevo", "database: ${PW:-x} names no variable; allowed: ${NAME}"),
        ("mongodb://${PW@host/coevo", "database: a ${ is not closed"),
    ],
)
def test_a_variable_that_cannot_be_expanded_is_named(value: str, told: str) -> None:
    message = problem_of(site_text(database=value), {"EMPTY": "", "PW": SECRET})
    assert message == f"s.yaml:2: {message.partition(': ')[2]}"
    assert told in message


@pytest.mark.parametrize(
    "changes",
    [
        {"database": f"mongodb:/u:{SECRET}@host/coevo"},
        {"database": f"mongodb://u:{SECRET}@host/co evo"},
        {"database": f"mongodb://u:p@ss{SECRET}@host/coevo"},
        {"database": [f"mongodb://u:{SECRET}@host/coevo"]},
        {"database": {"uri": f"mongodb://u:{SECRET}@host/coevo"}},
        {"launchpad": f"mongodb://u:{SECRET}@host/"},
        {"artifacts": f"s3://key:{SECRET}@bucket/x"},
        {"artifacts": f"s3//key:{SECRET}@bucket/x"},
        {"environments": {"default": {"variables": {"TOKEN": f"{SECRET}\n"}}}},
        {"environments": {"default": {"variables": {"TOKEN": [SECRET]}}}},
        {"environments": {"default": {"variables": [SECRET]}}},
        {"environments": [{"variables": {"TOKEN": SECRET}}]},
        {"environments": {"default": {"variables": {"COEVO_TOKEN": SECRET}}}},
        {"environments": {"default": {"variables": {"TOKEN": "${MONGO_PASSWORD}"}}}, "retries": -1},
        {"database": "mongodb://${MONGO_USER}:${MONGO_PASSWORD}@host"},
    ],
)
def test_no_message_repeats_a_secret(changes: dict[str, Any]) -> None:
    assert SECRET not in problem_of(site_text(**changes), ENVIRONMENT)


def test_resources_of_a_class() -> None:
    text = site_text(
        classes__label={"walltime": "1-0", "longer_walltimes": ["2-0", "4-0"], "tasks": 8, "cpus_per_task": 4, "nodes": 2},
        classes__small={
            "walltime": "4:00:00",
            "mode": "packed",
            "packed_jobs": 3,
            "cpus_per_task": 8,
            "packed_reserve": "1:00:00",
        },
        classes__screen={"walltime": 50, "mode": "packed", "partition": 7, "memory": 16000},
    )
    site = parse_site(text, "s", {}).site
    label, small, screen = (site.resources(name) for name in ("label", "small", "screen"))
    assert (label.workers, small.workers) == (16, 2)
    assert small.taking_seconds == 3 * 3600
    assert screen.taking_seconds == 40 * 60
    assert (screen.walltime, screen.partition, screen.memory) == ("50", "7", "16000")
    assert [label.next_walltime(text) for text in ("1-0", "24:00:00", "2-0", "4-0")] == [
        "2-00:00:00",
        "2-00:00:00",
        "4-00:00:00",
        None,
    ]


def test_a_workstation_needs_no_classes() -> None:
    site = parse_site(site_text(queue="none", classes=None, environments=None, workers=2), "s", {}).site
    assert site.environment("label").commands == ()
    assert resolved(parse_site(site_text(queue="none", classes=None), "s", {}))["classes"]["gpu"] == {"environment": "default"}


def test_how_the_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COEVO_SITE", raising=False)
    with pytest.raises(ConfigError, match=r"give --site FILE, set COEVO_SITE, or have a site.yaml in this directory"):
        find_site()
    (tmp_path / "site.yaml").write_text(site_text())
    assert load_site().source == "site.yaml"
    monkeypatch.setenv("COEVO_SITE", "other.yaml")
    with pytest.raises(ConfigError, match=r"other.yaml: cannot be read: No such file or directory; `coevo site init` writes one"):
        load_site()
    assert load_site("site.yaml").site.site == "here"


def test_an_example_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="allowed: gpu-slurm, local-cluster, workstation"):
        example_text("pbs")


def test_the_page_has_a_true_row_for_every_key() -> None:
    rows = []
    for key in describe_keys(Site):
        if not key.key.startswith(("classes.screen", "classes.label", "classes.small")):
            name = key.key.replace("classes.gpu", "classes.CLASS")
            rows.append(f"| `{name}` | {key.meaning} | `{key.default}` | {key.allowed} |")
    assert [line for line in PAGE.splitlines() if line in rows] == rows


def test_the_page_has_the_class_of_every_step() -> None:
    from coevo.configs.step_classes import CLASS_NAMES, STEP_CLASSES

    for name in CLASS_NAMES:
        steps = ", ".join(f"`{step}`" for step, kind in STEP_CLASSES.items() if kind == name)
        assert f"| `{name}` | {steps} |" in PAGE
