"""Whether a site works from this machine: database, artifact store, directory, and each class by ``sbatch --test-only``.

Nothing stays behind: the probe in the artifact store is removed, and no job is submitted.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from coevo.configs.step_classes import CLASS_NAMES
from coevo.errors import CoevoError
from coevo.slurm.queue_scripts import job_script

if TYPE_CHECKING:
    from coevo.configs.site_loading import LoadedSite
    from coevo.configs.step_classes import ClassName

TIMEOUT = 120.0
"""Seconds that sbatch and bash may take."""

_HINTS = (
    (r"invalid partition", "partitions: `sinfo -s`"),
    (
        r"invalid account|account/partition combination",
        "your accounts: `sacctmgr show assoc user=$USER format=account,partition,qos`",
    ),
    (r"invalid qos", "your qos: `sacctmgr show assoc user=$USER format=account,partition,qos`"),
    (r"generic resource|\bgres\b", "gres of the nodes: `sinfo -o '%P %G'`"),
    (r"time limit", "limits of the partitions: `sinfo -o '%P %l'`; write a shorter walltime"),
    (r"feature", "features of the nodes: `sinfo -o '%P %f'`"),
    (r"memory", "memory of the nodes in MB: `sinfo -o '%P %m'`"),
    (r"node configuration is not available|more processors|node count", "nodes, cores and gres: `sinfo -o '%P %D %c %m %G'`"),
    (r"unable to contact|connect failure|communication", "ask `scontrol ping` why the controller does not answer"),
)


class SiteFinding(NamedTuple):
    """What was found out about one part of a site.

    Attributes
    ----------
    what : str
    condition : {"ok", "missing", "problem"}
    found : str
    hint : str
        What to do; empty when ok.
    """

    what: str
    condition: Literal["ok", "missing", "problem"]
    found: str
    hint: str = ""


def examine_site(loaded: LoadedSite) -> list[SiteFinding]:
    """Try every part of a site.

    Parameters
    ----------
    loaded : LoadedSite
    """
    site = loaded.site
    findings = [SiteFinding("site", "ok", f"{site.site} ({loaded.source}), digest {loaded.digest}")]
    findings += [_server(loaded, "database"), _server(loaded, "launchpad"), _artifacts(loaded), _directory(loaded)]
    for name in CLASS_NAMES:
        problem = check_script(loaded, name)
        if problem is None and site.queue == "slurm":
            findings.append(try_class(loaded, name))
        else:
            findings.append(problem or SiteFinding(f"class {name}", "ok", f"runs here, environment {_environment(loaded, name)}"))
    return findings


def _environment(loaded: LoadedSite, name: ClassName) -> str:
    return loaded.site.resources(name).environment


def _server(loaded: LoadedSite, key: Literal["database", "launchpad"]) -> SiteFinding:
    from coevo.node_store.mongodb.connection import ask_server

    server = loaded.site.database_server if key == "database" else loaded.site.launchpad_server
    try:
        told = ask_server(server.uri, server.name)
    except CoevoError as err:
        return SiteFinding(key, "problem", str(err), f"correct {key} in {loaded.source}, or start the server")
    return SiteFinding(key, "ok", f"{server.place}: {told}")


def _artifacts(loaded: LoadedSite) -> SiteFinding:
    """Write, read and remove a blob."""
    from coevo.node_store.blobs.artifacts import ArtifactStore
    from coevo.node_store.blobs.stored import remove_blob

    data = b"coevo doctor " + secrets.token_bytes(32)
    place = loaded.site.artifacts.partition("?")[0]
    try:
        with tempfile.TemporaryDirectory() as cache:
            store = ArtifactStore(loaded.site.artifacts, Path(cache))
            sha256 = store.put_bytes(data).sha256
            try:
                store.get_bytes(sha256)
            finally:
                remove_blob(store, sha256, float("inf"))
    except CoevoError as err:
        return SiteFinding("artifacts", "problem", str(err), f"correct artifacts in {loaded.source}; workers must reach it too")
    return SiteFinding("artifacts", "ok", f"{place}: a blob was written, read and removed")


def _directory(loaded: LoadedSite) -> SiteFinding:
    path = Path(loaded.site.directory)
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    hint = f"correct directory in {loaded.source}; the login node and all workers must see and write it"
    if not nearest.is_dir():
        return SiteFinding("directory", "problem", f"{nearest} is a file", hint)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as err:
        return SiteFinding("directory", "problem", f"{nearest} cannot be written: {err.strerror}", hint)
    if nearest != path:
        return SiteFinding("directory", "ok", f"{path} will be made in {nearest}, which can be written")
    free = shutil.disk_usage(path).free
    return SiteFinding("directory", "ok", f"{path} can be written, {free / 1e9:.0f} GB free")


def check_script(loaded: LoadedSite, name: ClassName) -> SiteFinding | None:
    """Let bash read the script of a class without running it; None if it is well-formed."""
    what = f"class {name}"
    try:
        script = job_script(loaded, name, Path(loaded.site.directory))
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except CoevoError as err:
        return SiteFinding(what, "problem", str(err), f"correct {loaded.source}")
    except (OSError, subprocess.TimeoutExpired) as err:
        return SiteFinding(what, "problem", f"bash cannot be run: {err}", "job scripts need bash")
    if done.returncode == 0:
        return None
    told = " ".join(done.stderr.split())
    where = f"environments.{_environment(loaded, name)} in {loaded.source}"
    return SiteFinding(what, "problem", f"the script is no shell: {told}", f"correct commands and prefix of {where}")


def try_class(loaded: LoadedSite, name: ClassName) -> SiteFinding:
    """Let SLURM judge the script of a class (``sbatch --test-only``), without submitting it."""
    what = f"class {name}"
    if shutil.which("sbatch") is None:
        return SiteFinding(what, "problem", "no sbatch on PATH", "run this on a login node of the cluster")
    script = job_script(loaded, name, Path(loaded.site.directory))
    with tempfile.TemporaryDirectory() as folder:
        # a directory that exists, as --chdir is checked by some versions; the site's own may not be there yet
        path = Path(folder) / "script.sh"
        path.write_text(script, encoding="utf-8")
        path.chmod(0o600)
        try:
            done = subprocess.run(
                ["sbatch", "--test-only", str(path)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=False,
                cwd=folder,
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            return SiteFinding(what, "problem", f"sbatch did not answer within {TIMEOUT:g} s", "ask `scontrol ping` why")
        except OSError as err:
            return SiteFinding(what, "problem", f"sbatch cannot be run: {err.strerror}", "ask who runs the cluster")
    return read_verdict(what, done.returncode, done.stderr + "\n" + done.stdout, loaded.source)


def read_verdict(what: str, code: int, told: str, source: str) -> SiteFinding:
    """Read what ``sbatch --test-only`` said.

    Parameters
    ----------
    what : str
    code : int
        Its exit status.
    told : str
        Its output, such as ``sbatch: Job 7 to start at 2025-01-01T00:00:00 using 8 processors on nodes n1 in partition gpu``.
    source : str
        The site's file.
    """
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ").strip() for line in told.splitlines() if line.strip()]
    start = next((line for line in lines if re.match(r"Job \d+ to start at ", line)), None)
    if code == 0 and start:
        return SiteFinding(what, "ok", re.sub(r"^Job \d+ to start", "would start", start))
    found = "; ".join(dict.fromkeys(lines)) or f"sbatch ended with {code} and said nothing"
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, found, re.IGNORECASE)), "see sbatch(1)")
    return SiteFinding(what, "problem", found, f"correct classes.{what.removeprefix('class ')} in {source}; {hint}")
