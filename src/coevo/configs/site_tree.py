"""The configuration of a site: where database, artifacts and jobs are, and which allocation each class of jobs gets.

The tree is what a site's YAML file holds, with ``${VARIABLE}`` expanded (:mod:`coevo.configs.site_loading`). Nothing of it enters
a job's key or a state's id.
"""

from __future__ import annotations

import difflib
import re
from itertools import pairwise
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from coevo.configs.slurm_syntax import (
    Command,
    Constraint,
    Directory,
    Extra,
    Gres,
    Memory,
    Module,
    Name,
    Partition,
    Prefix,
    Walltime,
    check_variable,
    format_walltime,
    parse_walltime,
)
from coevo.configs.step_classes import CLASS_NAMES, ClassName
from coevo.configs.tree import Section
from coevo.settings import EMBEDDED_PREFIX, Settings

LAUNCHPAD_SUFFIX = "_launchpad"
_MONGODB = re.compile(r"(mongodb(?:\+srv)?://)([^@]*@)?([^/@?\s]+)/([^/?\s]*)(\?\S*)?")
_DATABASE_NAME = re.compile(r"[A-Za-z0-9_-]{1,50}")
_NOT_SHARED = {"memory": "lives in one process", "local": "is no URI that all workers read alike; write file:///DIRECTORY"}
_LOCAL_KEYS = frozenset({"environment"})
"""Keys of a class that mean something without a queue."""


class Server(NamedTuple):
    """A database on a MongoDB server.

    Attributes
    ----------
    uri : str
        With user, password and options; not to be printed.
    name : str
        Of the database.
    """

    uri: str
    name: str

    @property
    def place(self) -> str:
        """Host and database, to be printed: no user, password or options."""
        match = _MONGODB.fullmatch(self.uri)
        assert match is not None
        return f"{match[1]}{'***@' if match[2] else ''}{match[3]}/{self.name}"


class Environment(Section):
    """What a job script does before coevo starts."""

    modules: tuple[Module, ...] = Field(default=(), description="modules to load, in order")
    commands: tuple[Command, ...] = Field(default=(), description="lines of shell, such as `. /path/venv/bin/activate`")
    variables: dict[str, str] = Field(
        default_factory=dict, description="environment variables; kept in a file that only you can read, so secrets may be here"
    )
    prefix: Prefix = Field(default="", description="goes before the worker's command, such as `apptainer exec --nv image.sif`")

    @field_validator("variables", mode="before")
    @classmethod
    def _numbers_as_text(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: str(item) if type(item) is int else item for key, item in value.items()}
        return value

    @field_validator("variables")
    @classmethod
    def _sensible(cls, value: dict[str, str]) -> dict[str, str]:
        settings = {f"COEVO_{name.upper()}" for name in Settings.model_fields}
        for name, text in value.items():
            check_variable(name)
            if name in {"COEVO_DATABASE", "COEVO_ARTIFACTS", "COEVO_SITE"}:
                raise ValueError(f"{name} is not allowed: workers get it from the site's keys database and artifacts")
            if name.startswith("COEVO_") and name not in settings:
                near = difflib.get_close_matches(name, sorted(settings), n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"{name} is no setting of coevo{hint}; docs/configuration.md lists them")
            if not text.isprintable():
                raise ValueError(f"{name}: the value has a control character; allowed: one line of text")
        return value


class ResourceClass(Section):
    """One kind of allocation, in the words of sbatch."""

    environment: str = Field(default="default", description="which of environments its jobs run in")
    partition: Partition | None = Field(default=None, description="of SLURM; the cluster's default if null")
    account: Name | None = Field(default=None, description="that is charged; your default if null")
    qos: Name | None = Field(default=None, description="quality of service; your default if null")
    gres: Gres | None = Field(default=None, description="generic resources per node, such as gpu:1")
    nodes: int = Field(default=1, ge=1, le=10_000, description="nodes of a job")
    tasks: int = Field(default=1, ge=1, le=100_000, description="MPI tasks of a job")
    cpus_per_task: int = Field(default=1, ge=1, le=10_000, description="cores of a task")
    memory: Memory | None = Field(default=None, description="per node, such as 16G; the cluster's default if null")
    walltime: Walltime | None = Field(default=None, description="limit of a job, such as 24:00:00; required with a queue")
    longer_walltimes: tuple[Walltime, ...] = Field(
        default=(), description="increasing; given in turn to a job that ran into its walltime"
    )
    constraint: Constraint | None = Field(default=None, description="features of the nodes")
    extra: tuple[Extra, ...] = Field(default=(), description="further options of sbatch, such as --mail-type=FAIL")
    mode: Literal["single", "packed"] = Field(
        default="single", description="single: an allocation for each job; packed: an allocation takes jobs until its time is up"
    )
    packed_jobs: int = Field(default=1, ge=1, le=1000, description="packed: jobs that run at once and share the cores")
    packed_reserve: Walltime | None = Field(
        default=None, description="packed: no job starts this long before the walltime; a fifth of it if null"
    )
    packed_idle: int = Field(
        default=300, ge=10, description="packed: seconds of waiting for jobs, in all, until the allocation ends"
    )
    max_in_queue: int = Field(default=20, ge=1, le=10_000, description="jobs of the class in SLURM's queue, at most")

    @field_validator("longer_walltimes")
    @classmethod
    def _increasing(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        walltime = info.data.get("walltime")
        order = [*([walltime] if walltime else []), *value]
        for shorter, longer in pairwise(order):
            if parse_walltime(longer) <= parse_walltime(shorter):
                raise ValueError(f"{longer} is not longer than {shorter}; allowed: an increasing order")
        return value

    @field_validator("packed_reserve")
    @classmethod
    def _within_walltime(cls, value: str | None, info: ValidationInfo) -> str | None:
        walltime = info.data.get("walltime")
        if value and walltime and parse_walltime(value) >= parse_walltime(walltime):
            raise ValueError(f"{value} leaves nothing of the walltime {walltime}; allowed: the time that the longest job takes")
        return value

    @property
    def workers(self) -> int:
        """Worker processes of one job: the cores of an allocation on one node, shared by the jobs that run at once."""
        at_once = self.packed_jobs if self.mode == "packed" else 1
        return max(1, self.tasks * self.cpus_per_task // self.nodes // at_once)

    @property
    def taking_seconds(self) -> int:
        """Seconds for which a packed allocation takes new jobs."""
        assert self.walltime is not None
        walltime = parse_walltime(self.walltime)
        reserve = parse_walltime(self.packed_reserve) if self.packed_reserve else walltime // 5
        return max(1, walltime - reserve)

    def next_walltime(self, walltime: str) -> str | None:
        """Return the next longer walltime that the site allows, or None if there is none."""
        longer = [text for text in self.longer_walltimes if parse_walltime(text) > parse_walltime(walltime)]
        return format_walltime(parse_walltime(longer[0])) if longer else None


class ResourceClasses(Section):
    """The four kinds of work of the loop."""

    gpu: ResourceClass = Field(default_factory=ResourceClass)
    screen: ResourceClass = Field(default_factory=ResourceClass)
    label: ResourceClass = Field(default_factory=ResourceClass)
    small: ResourceClass = Field(default_factory=ResourceClass)


class Site(Section):
    """The whole tree."""

    site: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$", description="name of the site; in the names of its workers")
    database: str = Field(description="mongodb://HOST/DATABASE that all workers reach")
    artifacts: str = Field(description="URI of the artifact store that all workers reach, such as s3://BUCKET/PREFIX")
    launchpad: str | None = Field(
        default=None, description="mongodb://HOST/DATABASE of FireWorks; if null, DATABASE_launchpad on the same server"
    )
    directory: Directory = Field(description="where jobs run and their logs lie; the login node and all workers see it")
    queue: Literal["slurm", "none"] = Field(
        default="slurm", description="none: a workstation, where `coevo launch` runs the jobs itself"
    )
    workers: int = Field(default=1, ge=1, le=1000, description="queue none: jobs that run at once")
    retries: int = Field(default=3, ge=0, le=100, description="times that a lost job is run again")
    ping_seconds: int = Field(default=300, ge=5, le=3600, description="a running job says this often that it lives")
    environments: dict[str, Environment] = Field(
        default_factory=lambda: {"default": Environment()}, min_length=1, description="by name; classes choose one"
    )
    classes: ResourceClasses = Field(default_factory=ResourceClasses)

    @field_validator("database", "launchpad")
    @classmethod
    def _server(cls, value: str | None) -> str | None:
        """Check without ever repeating the value, which may hold a password."""
        if value is None:
            return None
        if value.startswith(EMBEDDED_PREFIX):
            raise ValueError(
                "an embedded database (file:) serves one process at a time, and the workers of a site need a server; write "
                "mongodb://HOST/DATABASE (`coevo run` needs no site and takes an embedded database)"
            )
        match = _MONGODB.fullmatch(value)
        if match is None:
            raise ValueError(
                "not a MongoDB URI (the value is not shown); allowed: mongodb://[USER:PASSWORD@]HOST[:PORT]/DATABASE[?OPTIONS], "
                "with / ? # [ ] @ : in a password percent-encoded"
            )
        if not _DATABASE_NAME.fullmatch(match[4]):
            raise ValueError("the URI names no database; allowed: …HOST/DATABASE, of at most 50 letters, digits, _ and -")
        return value

    @field_validator("artifacts")
    @classmethod
    def _reachable(cls, value: str) -> str:
        protocol, separator, rest = value.partition("://")
        if not separator or not re.fullmatch(r"[a-z0-9]+", protocol) or not rest or not value.isprintable():
            raise ValueError(
                "not a URI (the value is not shown); allowed: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///DIRECTORY"
            )
        if protocol in _NOT_SHARED:
            raise ValueError(f"{protocol}:// {_NOT_SHARED[protocol]}; allowed: s3://…, gs://… or file:///DIRECTORY")
        if protocol == "file" and not rest.startswith("/"):
            raise ValueError("file:// needs an absolute directory that all workers see: file:///DIRECTORY, with three slashes")
        try:
            holds_password = urlsplit(value).password is not None
        except ValueError:  # no URL in the strict sense, and its error would repeat the value
            holds_password = False
        if holds_password:
            raise ValueError("holds a password, and documents repeat the URI; give credentials by variables of the environments")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Site:
        for name in self.environments:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name):
                raise ValueError(f"environments: {name[:40]!r} is no name; allowed: letters, digits, _ and -")
        for name in CLASS_NAMES:
            self._check_class(name)
        if self.queue == "slurm" and "workers" in self.model_fields_set:
            raise ValueError("workers: only with queue: none; with SLURM, max_in_queue of each class limits the jobs")
        return self

    def _check_class(self, name: ClassName) -> None:
        kind, key = self.resources(name), f"classes.{name}"
        if kind.environment not in self.environments:
            raise ValueError(f"{key}.environment: got {kind.environment[:40]!r}, allowed: {', '.join(self.environments)}")
        if self.queue == "none":
            idle = [field for field in type(kind).model_fields if field in kind.model_fields_set - _LOCAL_KEYS]
            if idle:
                raise ValueError(f"{key}.{idle[0]}: means nothing with queue: none; allowed: {', '.join(sorted(_LOCAL_KEYS))}")
        elif name not in self.classes.model_fields_set:
            raise ValueError(f"{key}: missing, allowed: a mapping of {', '.join(ResourceClass.model_fields)}")
        elif kind.walltime is None:
            raise ValueError(f"{key}.walltime: missing (limit of a job), allowed: such as 24:00:00 or 2-12 (days-hours)")

    def resources(self, name: ClassName) -> ResourceClass:
        """Return the resources of a class."""
        kind: ResourceClass = getattr(self.classes, name)
        return kind

    def environment(self, name: ClassName) -> Environment:
        """Return the environment that jobs of a class run in."""
        return self.environments[self.resources(name).environment]

    @property
    def database_server(self) -> Server:
        """Where nodes and states are."""
        match = _MONGODB.fullmatch(self.database)
        assert match is not None
        return Server(self.database, match[4])

    @property
    def launchpad_server(self) -> Server:
        """Where FireWorks keeps its workflows."""
        if self.launchpad is None:
            return Server(self.database, self.database_server.name + LAUNCHPAD_SUFFIX)
        match = _MONGODB.fullmatch(self.launchpad)
        assert match is not None
        return Server(self.launchpad, match[4])
