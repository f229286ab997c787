"""``python -m coevo.slurm.local_cluster`` is ``slurm/local-cluster``."""

import sys

from coevo.slurm.local_cluster.cluster import main

sys.exit(main())
