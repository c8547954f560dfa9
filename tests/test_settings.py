from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import ConfigError
from core.given import SECTION_OF
from core.sections import SECTIONS
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
    server = '[server]\nport = 1001\nhost = "0.0.0.0"\ncors_origins = ["https://a.example"]\n'
    file.write_text(f'{server}[log]\nlog_level = "debug"\n')
    monkeypatch.setenv("CRM_CONFIG", str(file))
    monkeypatch.setenv("CRM_PORT", "1002")
    monkeypatch.setenv("CRM_HOST", "::1")
    settings = Settings.load(port=1003)
    assert (settings.port, settings.host, settings.log_level) == (1003, "::1", "debug")
    assert settings.cors_origins == ("https://a.example",)


def test_the_file_in_the_working_folder_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "crm.toml").write_text('[server]\nport = 1001\n[database]\ndata_dir = "data"\n')
    monkeypatch.chdir(tmp_path)
    settings = Settings.load()
    assert (settings.port, settings.data_dir) == (1001, tmp_path / "data")


def test_paths_in_the_file_start_from_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 40 + "\n")
    (tmp_path / "crm.toml").write_text('[database]\ndata_dir = "data"\n[sign_in]\nsecret_file = "key"\n')
    monkeypatch.setenv("CRM_CONFIG", str(tmp_path / "crm.toml"))
    settings = Settings.load()
    assert (settings.data_dir, settings.signing_key()) == (tmp_path / "data", "k" * 40)


def test_secrets_are_read_from_files_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (("url", "postgresql://u:p@h/d"), ("secret", "s" * 40), ("token", "t")):
        (tmp_path / name).write_text(f"{value}\n")
    monkeypatch.setenv("CRM_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("CRM_SECRET_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("CRM_METRICS_TOKEN_FILE", str(tmp_path / "token"))
    settings = Settings.load()
    found = [settings.database_url, settings.secret, settings.metrics_token]
    assert [s and s.get_secret_value() for s in found] == ["postgresql://u:p@h/d", "s" * 40, "t"]


def test_every_setting_lies_in_one_section() -> None:
    assert sorted(SECTION_OF) == sorted(Settings.model_fields)
    assert sum(len(section.model_fields) for section in SECTIONS.values()) == len(SECTION_OF)


def test_every_fault_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "crm.toml"
    file.write_text('[server]\nport = "x"\nfoo = 1\n[log]\nlog_level = "loud"\n')
    monkeypatch.setenv("CRM_CONFIG", str(file))
    monkeypatch.setenv("CRM_SECRET_FILE", str(tmp_path / "empty"))
    monkeypatch.setenv("CRM_PROT", "1")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert [fault.split(":")[0] + ":" + fault.split(":")[1] for fault in caught.value.params["faults"]] == [
        "crm.toml: [server] foo",
        "unknown setting in the environment: CRM_PROT",
        f"CRM_SECRET_FILE: {tmp_path / 'empty'}",
        "crm.toml: [server] port",
        "crm.toml: [log] log_level",
    ]


def test_lists_are_separated_by_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_CORS_ORIGINS", "https://a.example, https://b.example,")
    monkeypatch.setenv("CRM_ALLOWED_HOSTS", "crm.example")
    monkeypatch.setenv("CRM_TRUSTED_PROXIES", "10.0.0.0/8, ::1, *")
    settings = Settings.load()
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1", "*")
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
        ({"CRM_SECRET": "s" * 40, "CRM_SECRET_FILE": "/x"}, "CRM_SECRET_FILE: secret is given, too"),
        ({"CRM_PORT_FILE": "/x"}, "unknown setting in the environment: CRM_PORT_FILE"),
        ({"CRM_TRUSTED_PROXIES": "::1, proxy"}, "CRM_TRUSTED_PROXIES: must be addresses, networks"),
        ({"CRM_REPLICA_URL": "replica"}, "CRM_REPLICA_URL: must start with postgresql://"),
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
        ("[server]\nprot = 9000", "crm.toml: [server] prot: there is no such setting, is it port?"),
        ('[server]\nport = "x"', "crm.toml: [server] port: Input should be a valid integer"),
        ("[log]\nport = 9000", "crm.toml: [log] port: it belongs into [server]"),
        ("port = 9000", "crm.toml: port: it belongs into [server]"),
        ("[mail]\nhost = 'x'", "crm.toml: there is no section [mail]: there are database, server, "),
        ("[sign_in]\nsecret_file = 'none'", "crm.toml: [sign_in] secret_file: none: No such file or directory"),
        ("[sign_in]\nsecret = 'x'\nsecret_file = 'y'", "crm.toml: [sign_in] secret_file: secret is given, too"),
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
