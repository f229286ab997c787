"""The pages: what each shows, as HTML that asks nobody but this server for anything."""
