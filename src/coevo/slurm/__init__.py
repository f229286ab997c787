"""Campaigns on a cluster: sites, queue adapters and job scripts, workflows that are added once, workers, launching, rerunning."""
