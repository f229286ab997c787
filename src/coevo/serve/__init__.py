"""States of nodes over HTTP, read only: pages for people and an OPTIMADE server for programs."""
