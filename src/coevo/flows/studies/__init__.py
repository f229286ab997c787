"""How studies are wired: what a kind of study is, what it is handed, and the Flow that ends in its document."""
