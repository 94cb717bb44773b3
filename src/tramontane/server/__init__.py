"""HTTP ⇄ ENGINE, WRITING: the page and what it asks."""
