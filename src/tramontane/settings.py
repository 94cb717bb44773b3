"""Frozen settings: command-line flags > environment (TRAMONTANE_*) > tramontane.toml > defaults."""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tramontane.errors import ConfigError

FILE, PREFIX = "tramontane.toml", "TRAMONTANE_"


class Settings(BaseModel):
    """What a person may choose, checked once; paths are derived from `home`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(
        default_factory=lambda: user_data_path("tramontane"),
        description="folder of models, library, experts and caches",
    )
    base: str = Field("smollm2", description="name of the base to use, as `tramontane ls` shows it")
    mixture: str = Field("default", description="name of the mixture whose experts are in place")
    threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024, description="worker threads"
    )
    runtime: Literal["auto", "native", "pytorch"] = Field(
        "auto", description="what computes; auto takes the native one where it knows the model"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where learning computes; auto takes a GPU if there is one"
    )
    kv: Literal["float16", "int8"] = Field(
        "float16", description="what keys and values are kept as; int8 takes half the memory"
    )
    weights_cache_gb: float = Field(
        40, ge=0, description="disk that repacked weights may take; 0 keeps none"
    )
    kv_tokens: int | None = Field(
        None,
        ge=64,
        le=1 << 30,
        description="tokens whose keys and values are kept in memory, over all requests and the "
        "cache of prompts; by default a whole context, or what fits half of the memory left",
    )
    host: str = Field("127.0.0.1", description="address the page listens on; loopback unless told")
    port: int = Field(8787, ge=0, le=65535, description="port the page listens on")
    names: str = Field(
        "",
        description="further names, by commas, under which a reverse proxy hands requests on; "
        "with any, everybody needs a key",
    )
    needs_key: bool = Field(False, description="everybody needs a key, on this machine too")
    keeps_history: bool = Field(
        True, description="questions asked on the page are kept in the library with their answers"
    )
    most_answers: int = Field(
        128, ge=1, le=4096, description="answers under way and waiting; beyond, 429"
    )
    answer_seconds: float = Field(600, gt=0, description="longest time an answer may take")

    @field_validator("home")
    @classmethod
    def _own_folder(cls, home: Path) -> Path:
        try:
            return home.expanduser()
        except RuntimeError:  # "~somebody", whom this machine doesn't know
            raise ValueError("there is no user of that name") from None

    @property
    def models_folder(self) -> Path:
        return self.home / "models"

    @property
    def library_file(self) -> Path:
        return self.home / "library.sqlite"

    @property
    def dropped_folder(self) -> Path:
        return self.home / "dropped"

    @property
    def experts_folder(self) -> Path:
        return self.home / "experts"

    @property
    def mixtures_folder(self) -> Path:
        return self.home / "mixtures"

    @property
    def audits_folder(self) -> Path:
        return self.home / "audits"

    @property
    def findings_folder(self) -> Path:
        return self.home / "findings"

    @property
    def cache_folder(self) -> Path:
        """Derived data only: deleting it costs time, never anything else."""
        return self.home / "cache"

    @property
    def weights_folder(self) -> Path:
        return self.cache_folder / "weights"


def load_settings(**flags: Any) -> Settings:
    """Returns the settings in force; flags that are None were not given.

    Raises ConfigError naming each setting that is unknown or out of range.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**(from_file(Path(FILE)) | from_environment() | given))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, got {fault['input']!r}"
            for fault in error.errors()
        )
        raise ConfigError(
            f"settings: {faults}; known: {', '.join(Settings.model_fields)}"
        ) from None
    except ValueError as error:  # tomllib's own error is a ValueError
        raise ConfigError(f"{FILE} cannot be read: {error}") from None


def from_file(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_bytes().decode()) if file.is_file() else {}


def from_environment() -> dict[str, str]:
    """Returns the settings that the environment names; a variable of another name is no fault."""
    return {
        name: os.environ[variable]
        for name in Settings.model_fields
        if (variable := f"{PREFIX}{name.upper()}") in os.environ
    }
