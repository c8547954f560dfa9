from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import ConfigError
from core.settings import Settings


def test_defaults() -> None:
    settings = Settings.load(postgres_bin=None)
    expected = {
        "database_url": None,
        "data_dir": Path.cwd() / ".crm",
        "postgres_bin": None,
        "secret": None,
        "host": "127.0.0.1",
        "port": 8000,
        "allowed_hosts": ("*",),
        "cors_origins": (),
        "production": False,
        "pool_size": 10,
        "max_connections": 90,
        "pool_timeout": 10.0,
        "statement_timeout_ms": 10_000,
        "max_body_bytes": 2_000_000,
        "max_upload_bytes": 200_000_000,
        "default_page_size": 50,
        "max_page_size": 200,
        "access_token_minutes": 15,
        "refresh_token_days": 30,
        "log_level": "info",
        "log_format": "json",
        "worker_inside": True,
    }
    assert {name: getattr(settings, name) for name in expected} == expected


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_values_win_over_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "crm.toml"
    file.write_text('port = 1001\nhost = "0.0.0.0"\nlog_level = "debug"\ncors_origins = ["https://a.example"]\n')
    monkeypatch.setenv("CRM_CONFIG", str(file))
    monkeypatch.setenv("CRM_PORT", "1002")
    monkeypatch.setenv("CRM_HOST", "::1")
    settings = Settings.load(port=1003)
    assert (settings.port, settings.host, settings.log_level) == (1003, "::1", "debug")
    assert settings.cors_origins == ("https://a.example",)


def test_lists_are_separated_by_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_CORS_ORIGINS", "https://a.example, https://b.example,")
    monkeypatch.setenv("CRM_ALLOWED_HOSTS", "crm.example")
    settings = Settings.load()
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.allowed_hosts == ("crm.example",)


def test_settings_are_frozen() -> None:
    settings = Settings.load()
    with pytest.raises(ValidationError):
        settings.port = 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"CRM_PORT": "many"}, "CRM_PORT: Input should be a valid integer"),
        ({"CRM_PORT": "70000", "CRM_HOST": "x"}, "CRM_PORT: Input should be less than or equal to 65535"),
        (
            {"CRM_PORT": "x", "CRM_POOL_SIZE": "0"},
            "CRM_POOL_SIZE: Input should be greater than or equal to 1",
        ),
        ({"CRM_DATABASE_URL": "mysql://u:hunter2@h/d"}, "CRM_DATABASE_URL: must start with postgresql://"),
        ({"CRM_SECRET": "hunter2"}, "CRM_SECRET: must have 32 characters or more"),
        ({"CRM_LOG_FORMAT": "xml"}, "CRM_LOG_FORMAT: Input should be 'json' or 'console'"),
        ({"CRM_MAX_PAGE_SIZE": "10"}, "CRM_MAX_PAGE_SIZE: must not be below default_page_size"),
        ({"CRM_PROT": "9000"}, "unknown setting in the environment: CRM_PROT"),
    ],
)
def test_faults_are_one_clear_line_without_the_value(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = ", "is not valid TOML"),
        ("prot = 9000", "CRM_PROT: Extra inputs are not permitted"),
        ('port = "x"', "CRM_PORT: Input should be a valid integer"),
        (None, "which is not a file"),
    ],
)
def test_faulty_files_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, message: str
) -> None:
    file = tmp_path / "crm.toml"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("CRM_CONFIG", str(file))
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_secrets_do_not_show() -> None:
    settings = Settings.load(database_url="postgresql://u:hunter2@h/d", secret="hunter2" * 10)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.model_dump())


def test_the_signing_key_is_the_setting(tmp_path: Path) -> None:
    assert Settings.load(secret="x" * 32, data_dir=tmp_path).signing_key() == "x" * 32
    assert list(tmp_path.iterdir()) == []


def test_the_signing_key_is_generated_once(tmp_path: Path) -> None:
    settings = Settings.load(data_dir=tmp_path / "new")
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: settings.signing_key(), range(32)))
    assert len(keys) == 1
    assert len(keys.pop()) >= 32
    assert [(p.name, stat.S_IMODE(p.stat().st_mode)) for p in settings.data_dir.iterdir()] == [("secret", 0o600)]


def test_a_damaged_or_unreachable_signing_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short")
    with pytest.raises(ConfigError, match="holds no secret"):
        Settings.load(data_dir=tmp_path).signing_key()
    with pytest.raises(ConfigError, match="cannot keep the secret"):
        Settings.load(data_dir=tmp_path / "secret" / "x").signing_key()
