"""Campaigns on a cluster: sites as queue adapters and job scripts, workflows that are added once, workers, launching and rerunning."""
