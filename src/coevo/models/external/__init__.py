"""Model families in environments of their own: a subprocess with files in and out (docs/generators.md)."""
