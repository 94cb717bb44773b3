"""Settings are checked once, frozen, and taken from the nearest place that names them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tramontane.errors import ConfigError
from tramontane.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def bare_environment(tmp_path, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"TRAMONTANE_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_flags_win_over_environment_over_file_over_defaults(tmp_path, monkeypatch):
    assert load_settings().port == 8787
    (tmp_path / "tramontane.toml").write_text('port = 1001\nbase = "from file"\nthreads = 3\n')
    monkeypatch.setenv("TRAMONTANE_PORT", "1002")
    monkeypatch.setenv("TRAMONTANE_BASE", "from environment")
    settings = load_settings(port=1003, mixture=None)
    assert (settings.port, settings.base, settings.threads) == (1003, "from environment", 3)
    assert (settings.mixture, settings.host) == ("default", "127.0.0.1")


def test_paths_are_derived_from_home(tmp_path, monkeypatch):
    settings = load_settings(home=tmp_path)
    assert {
        settings.models_folder,
        settings.library_file,
        settings.experts_folder,
        settings.mixtures_folder,
        settings.cache_folder,
    } == {tmp_path / name for name in ("models", "library.sqlite", "experts", "mixtures", "cache")}
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("TRAMONTANE_HOME", "~/notes")
    assert load_settings().home == Path("/home/ada/notes")


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().port = 1


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ({"prot": 80}, "prot: Extra inputs are not permitted, got 80"),
        ({"port": 65_536}, "port: .*less than or equal to 65535, got 65536"),
        ({"port": "many"}, "port: .*valid integer.*got 'many'"),
        ({"threads": 0}, "threads: .*greater than or equal to 1, got 0"),
        ({"home": "~nobody-of-that-name"}, "home: .*there is no user of that name"),
        ({"prot": 80, "threads": 0}, "threads: .*; prot: .*|prot: .*; threads: .*"),
    ],
)
def test_a_fault_is_named_with_what_is_known(flags, fault):
    with pytest.raises(ConfigError, match=f"(?:{fault}).*known: home, base, mixture, threads"):
        load_settings(**flags)


def test_a_fault_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("TRAMONTANE_THREADS", "all")
    with pytest.raises(ConfigError, match="threads: .*got 'all'"):
        load_settings()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"prot = 80\n", "prot: Extra inputs"),
        (b"port = \n", "tramontane.toml cannot be read: Invalid value"),
        (b"\xff\xfe", "tramontane.toml cannot be read"),
        (b"[port]\nnumber = 1\n", "port: .*valid integer"),
    ],
)
def test_a_fault_in_the_file_is_named(tmp_path, data, fault):
    (tmp_path / "tramontane.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=fault):
        load_settings()
