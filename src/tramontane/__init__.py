"""Tramontane: a mixture-of-experts language model that a person owns from end to end."""


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Looked up when asked for: reading what is installed takes longer than most imports.
    from importlib.metadata import version

    return version("tramontane")
