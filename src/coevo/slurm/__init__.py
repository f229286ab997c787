"""What coevo knows of SLURM.

Now: whether this machine can submit to it (:mod:`~coevo.slurm.detection`). The room is for queue-adapter and worker templates
rendered from a site's YAML, and for launching campaigns through FireWorks.
"""
