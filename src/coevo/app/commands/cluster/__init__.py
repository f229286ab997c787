"""Commands of a cluster or workstation that is described by a site's file."""
