#!/bin/sh
# Install SLURM and munge for the tests, where that is allowed; else say what to do. Their services are not started: the tests
# run a cluster of their own (slurm/local-cluster).
exec "$(dirname "$0")/../install_packages.sh" "SLURM" "slurmctld slurmd sbatch scontrol munged" \
    slurm-wlm slurmctld slurmd slurm-client munge
