"""One suite a file; `all.py` lists them."""
