"""The deployment's settings: environment and file become one typed, frozen object."""

from __future__ import annotations

import ipaddress
import os
import secrets
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from core.errors import ConfigError

PREFIX = "CRM_"
MIN_SECRET = 32
#: Bytes of a file; its size is an Int of GraphQL.
MAX_FILE = 2**31 - 1

Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Every switch of a deployment. `CRM_PORT=9000` in the environment sets `port`.

    The file named by `CRM_CONFIG` (TOML, the same names without the prefix) fills in what the environment
    leaves open. Use `Settings.load()`: it turns every fault into one readable ConfigError.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", validate_default=True)

    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL 15 to 18, postgresql://user:password@host/name; none starts one in data_dir",
    )
    replica_url: SecretStr | None = Field(
        None,
        description="Streaming replica of the database, for queries that come with the header X-Max-Staleness",
    )
    data_dir: Path = Field(
        Path(".crm"), description="Folder of the embedded server, the generated secret and, unless set, the files"
    )
    files_dir: Path | None = Field(
        None, description="Folder of uploaded and made files, shared by all servers and workers; none is data_dir/files"
    )
    postgres_bin: Path | None = Field(
        None, description="Folder with initdb, pg_ctl and postgres to run instead of the embedded ones"
    )
    secret: SecretStr | None = Field(
        None,
        description=f"Signs tokens and links, {MIN_SECRET} characters or more; none makes one in data_dir",
    )
    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on")
    allowed_hosts: Names = Field(
        ("*",), description="Host names answered to, separated by commas; *.example.com matches subdomains"
    )
    trusted_proxies: Names = Field(
        ("127.0.0.1", "::1"),
        description="Addresses and networks of proxies whose X-Forwarded-For and -Proto are believed, with commas",
    )
    cors_origins: Names = Field(
        (),
        description="Origins of browsers that may call, separated by commas; http://localhost:* is one at any port, "
        "none switches CORS off",
    )
    keep_answers: bool = Field(
        False, description="Lets browsers keep answers to GET, to ask by ETag whether they have changed"
    )
    default_workspace: str = Field(
        "default", description="Slug of the workspace that /graphql is, where no host name says"
    )
    public_url: str = Field(
        "", description="Where clients reach the server, such as https://crm.example.com; empty makes links relative"
    )
    production: bool = Field(False, description="Switches introspection, GraphiQL and every demo convenience off")

    pool_size: int = Field(10, ge=1, description="Connections one process opens at most for one workspace")
    max_connections: int = Field(90, ge=2, description="Connections one process opens at most for all workspaces")
    pool_timeout: float = Field(10.0, gt=0, description="Seconds a request waits for a free connection")
    statement_timeout_ms: int = Field(10_000, ge=0, description="Milliseconds a statement may run; 0 is no limit")

    max_body_bytes: int = Field(2_000_000, ge=1_000, description="Largest request body, uploads excepted")
    max_document_characters: int = Field(50_000, ge=1_000, description="Most characters in a GraphQL document")
    max_tokens: int = Field(4_000, ge=100, description="Most tokens in a GraphQL document")
    max_depth: int = Field(18, ge=5, description="Most levels of fields in an operation")
    max_aliases: int = Field(30, ge=0, description="Most aliases in an operation")
    max_directives: int = Field(50, ge=0, description="Most directives in an operation")
    max_fields: int = Field(1_500, ge=300, description="Most fields in an operation, fragments spread")
    max_root_fields: int = Field(30, ge=1, description="Most root fields in an operation")
    max_cost: int = Field(20_000, ge=1_000, description="Most rows times fields an operation may ask for")
    bulk_job_records: int = Field(10_000, ge=0, description="A bulk mutation of more records is done as a job")
    max_upload_bytes: int = Field(200_000_000, ge=1_000, le=MAX_FILE, description="Largest uploaded file")
    max_upload_files: int = Field(10, ge=1, description="Most files in one request")
    max_upload_total_bytes: int = Field(
        400_000_000, ge=1_000, le=MAX_FILE, description="Largest sum of the files of one request"
    )
    default_page_size: int = Field(50, ge=1, description="Records on a page when the query does not say")
    max_page_size: int = Field(200, ge=1, description="Most records on a page")

    max_subscriptions: int = Field(10_000, ge=0, description="Subscriptions one process keeps open at most")
    max_subscriptions_per_actor: int = Field(
        500, ge=1, description="Subscriptions one process keeps open at most for one actor"
    )
    max_sockets: int = Field(5_000, ge=1, description="WebSockets one process keeps open at most")
    max_operations_per_socket: int = Field(100, ge=1, description="Operations one WebSocket may have running at once")

    rate_limit_requests: int = Field(
        60_000, ge=0, description="Requests an actor may make in rate_limit_seconds, in all processes; 0 is no limit"
    )
    rate_limit_cost: int = Field(
        0, ge=0, description="Cost of the operations an actor may run in rate_limit_seconds; 0 is no limit"
    )
    rate_limit_anonymous: int = Field(
        6_000, ge=0, description="Requests one address may make in rate_limit_seconds without a token; 0 is no limit"
    )
    rate_limit_seconds: int = Field(60, ge=1, le=86_400, description="Seconds that the rate limits are for")

    access_token_minutes: int = Field(15, ge=1, description="Minutes an access token is valid")
    refresh_token_days: int = Field(30, ge=1, description="Days a session can be refreshed")

    file_link_minutes: int = Field(15, ge=1, description="Minutes a link to a file is good for")
    file_days: int = Field(7, ge=1, description="Days an uploaded file is kept that nothing has been made of")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity that is logged")
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people")
    otlp_endpoint: str | None = Field(
        None,
        description="OpenTelemetry collector to send spans to, such as http://localhost:4318; needs the extra otel",
    )
    otlp_service: str = Field("headless-crm", description="The service that spans are told to come from")
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token for /metrics and the parts of /readyz; none lets in this machine only"
    )
    metrics_dir: Path | None = Field(
        None, description="Folder where the processes of one server share what they count; crm serve sets it"
    )
    worker_inside: bool = Field(True, description="Runs background jobs inside the server process too")

    @field_validator("data_dir", "files_dir", "postgres_bin", "metrics_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @field_validator("allowed_hosts", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split(cls, names: Any) -> Any:
        return tuple(n.strip() for n in names.split(",") if n.strip()) if isinstance(names, str) else names

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            if proxy != "*":
                ipaddress.ip_network(proxy)
        return proxies

    @field_validator("database_url", "replica_url")
    @classmethod
    def _postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("postgresql://", "postgres://")):
            message = "must start with postgresql://"
            raise ValueError(message)
        return url

    @field_validator("public_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            message = "must start with https:// or http://"
            raise ValueError(message)
        return url.rstrip("/")

    @field_validator("secret")
    @classmethod
    def _long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < MIN_SECRET:
            message = f"must have {MIN_SECRET} characters or more"
            raise ValueError(message)
        return secret

    @field_validator("max_page_size")
    @classmethod
    def _not_below_default(cls, size: int, info: Any) -> int:
        if size < info.data.get("default_page_size", 0):
            message = "must not be below default_page_size"
            raise ValueError(message)
        return size

    @property
    def files(self) -> Path:
        """The folder of the workspaces' files."""
        return self.files_dir or self.data_dir / "files"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit values win over the environment, and that over the file named by CRM_CONFIG."""
        file = os.environ.get(f"{PREFIX}CONFIG")
        toml = (TomlConfigSettingsSource(settings_cls, Path(file)),) if file else ()
        return (init_settings, env_settings, *toml)

    @classmethod
    def load(cls, **values: Any) -> Self:
        """Read the settings; `values` win over environment and file.

        Raises ConfigError naming every faulty setting in one line; values are never repeated in it.
        """
        file = os.environ.get(f"{PREFIX}CONFIG")
        if file and not Path(file).is_file():
            raise ConfigError(f"{PREFIX}CONFIG names {file}, which is not a file", setting="config")
        unknown = sorted(n for n in os.environ if n.startswith(PREFIX) and not cls._is_known(n.removeprefix(PREFIX)))
        if unknown:
            raise ConfigError(f"unknown setting in the environment: {', '.join(unknown)}", settings=unknown)
        try:
            return cls(**values)
        except ValidationError as error:
            faults = "; ".join(
                f"{PREFIX}{'.'.join(map(str, e['loc'])).upper()}: {e['msg'].removeprefix('Value error, ')}"
                for e in error.errors(include_input=False, include_url=False)
            )
            raise ConfigError(f"settings are wrong: {faults}") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{file} is not valid TOML: {error}", setting="config") from None
        except ValueError as error:
            raise ConfigError(f"settings are wrong: {error}") from None

    @classmethod
    def _is_known(cls, name: str) -> bool:
        return name == "CONFIG" or name.lower() in cls.model_fields

    def signing_key(self) -> str:
        """The secret that signs tokens: the setting, else one made once in `data_dir/secret` (mode 0600).

        Raises ConfigError where the folder or the file cannot be written or read.
        """
        if self.secret is not None:
            return self.secret.get_secret_value()
        path = self.data_dir / "secret"
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            return _read_or_create(path)
        except OSError as error:
            raise ConfigError(f"cannot keep the secret in {path}: {error.strerror}", path=str(path)) from error


def _read_or_create(path: Path) -> str:
    """Link a finished file into place, so that of several processes starting at once all read one secret."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(48))
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
    secret = path.read_text().strip()
    if len(secret) < MIN_SECRET:
        raise ConfigError(f"{path} holds no secret of {MIN_SECRET} characters or more", path=str(path))
    return secret
