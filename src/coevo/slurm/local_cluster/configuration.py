"""The configuration files of a one-host SLURM cluster: four nodes, three partitions, fake GPUs."""

from __future__ import annotations

import json
import os
import pwd
import socket
from typing import TYPE_CHECKING

from coevo.slurm.local_cluster.files import GPU_NODES, KILL_WAIT, NODES

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.slurm.local_cluster.files import ClusterFiles, Description, Ports

GPU_DEVICES = {"gpu1": ("/dev/null", "/dev/zero"), "gpu2": ("/dev/full", "/dev/random")}
"""The GPUs of a node are character devices that every Linux has: SLURM wants a device file for each and never opens it."""


def write_files(files: ClusterFiles, description: Description, *, version: tuple[int, int]) -> str | None:
    """Write the cluster's JSON file and the configuration files of SLURM.

    Parameters
    ----------
    version : tuple of int
        Of SLURM, such as ``(22, 5)``.

    Returns
    -------
    str or None
        A sentence for the user if the daemons will listen on more than the loopback interface; None if they will not.
    """
    host = socket.gethostname().partition(".")[0]
    address, notice = _loopback_address()
    etc = files.directory / "etc"
    _write(etc / "gres.conf", _gres_conf())
    if version >= (24, 5):  # older ones do not know the word, and touch no cgroup if no plugin asks for it
        _write(etc / "cgroup.conf", "CgroupPlugin=disabled\n")
    _write(etc / "secantusd.toml", "# empty, so that no configuration file of the user is read\n")
    _write(files.configuration, _slurm_conf(files, description.ports, host, address, only_loopback=notice is None))
    ports = description.ports
    told = {
        "ports": {"controller": ports.controller, "nodes": ports.nodes, "database": ports.database},
        "with_database": description.with_database,
    }
    _write(files.description, json.dumps(told, indent=1) + "\n")
    return notice


def _write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _loopback_address() -> tuple[str, str | None]:
    """Return the address of all nodes, and what to tell the user if SLURM cannot be kept to it.

    SLURM's daemons listen on every interface, or on the address of the name of the host: never on another one.
    """
    host = socket.gethostname()
    try:
        address = socket.gethostbyname(host)
    except OSError:
        address = "none"
    if address.startswith("127."):
        return address, None
    return "127.0.0.1", (
        f"the name of this host, {host}, has the address {address} and not a loopback one, so SLURM's daemons listen on every "
        "interface; they answer only who has this cluster's munge key"
    )


def _gres_conf() -> str:
    lines = ["AutoDetect=off"]
    lines += [f"NodeName={node} Name=gpu Type=fake File={device}" for node in GPU_NODES for device in GPU_DEVICES[node]]
    return "\n".join(lines) + "\n"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _slurm_conf(files: ClusterFiles, ports: Ports, host: str, address: str, *, only_loopback: bool) -> str:
    directory = files.directory
    nodes = []
    for node in NODES:
        has = "Gres=gpu:fake:2 Feature=gpu" if node in GPU_NODES else "Feature=cpu"
        at = f"NodeHostname={host} NodeAddr={address} Port={ports.nodes[node]}"
        nodes.append(f"NodeName={node} {at} CPUs=4 RealMemory=16000 {has}")
    listening = "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny" if only_loopback else "# listens on every interface"
    return f"""\
# A one-host cluster of coevo; slurm/local-cluster start writes this file anew.
ClusterName=coevo-local
SlurmctldHost={host}({address})
SlurmctldPort={ports.controller}
{listening}
MailProg=/bin/true
SlurmUser={_user()}
SlurmdUser={_user()}
AuthType=auth/munge
AuthInfo=socket={files.munge_socket}
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/run/slurmctld.pid
SlurmdPidFile={directory}/run/slurmd-%n.pid

# No cgroups, no systemd, no accounting daemon; the CPUs of a node need not exist.
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={files.finished_jobs}
SlurmdParameters=config_overrides
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000

# Who starts a job again is the launchpad, which knows what the job had done: SLURM does so only for sbatch --requeue.
JobRequeue=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE

# Short waits, for tests. SLURM looks for jobs that are out of time every 30 s, whatever is written here.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=2,sched_min_interval=100000
KillWait={KILL_WAIT}
OverTimeLimit=0
MinJobAge=3600
ReturnToService=2

# Long ones for what is no fault on a machine that has much else to do: a node that is slow is not down, nor is its job missing.
SlurmdTimeout=300
BatchStartTimeout=300
MessageTimeout=60
TCPTimeout=30
UnkillableStepTimeout=600
EnforcePartLimits=ALL

{chr(10).join(nodes)}
PartitionName=cpu Nodes=cpu[1-2] Default=YES MaxTime=24:00:00 DefaultTime=01:00:00 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=gpu Nodes=gpu[1-2] MaxTime=12:00:00 DefaultTime=01:00:00 PriorityTier=10 PreemptMode=OFF State=UP
PartitionName=preempt Nodes=cpu[1-2],gpu[1-2] MaxTime=04:00:00 DefaultTime=01:00:00 PriorityTier=1 PreemptMode=REQUEUE State=UP
"""
