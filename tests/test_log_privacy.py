"""A whole session at debug level, by a server with its worker: no line of its log holds a secret or somebody's data."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.serving import CRM, PATIENCE, crm, environment, free_port

PASSWORD, WRONG, NEW = "Mật-khẩu-thật-7", "Đoán-mò-123", "Mật-khẩu-mới-8"
PEOPLE = {
    "name": "Nguyễn Thị Bích Ngọc Riêng",
    "email": "bichngoc.rieng@vidu.example",
    "phone": "0912345987",
    "taxCode": "0312345678",
    "description": "ghi-chú-riêng-tư",
    "code": "KHRIENG77",
}
SEARCHED = "chuỗi-tìm-riêng"
LOGIN = """mutation L($l: String!, $p: String!) { login(input: {login: $l, password: $p}) {
  accessToken refreshToken userErrors { code } } }"""
CREATE = """mutation C($i: CustomerCreateInput!, $k: String) {
  customerCreate(input: $i, idempotencyKey: $k) { customer { id } userErrors { code } } }"""
CUSTOM = """mutation F { customFieldCreate(input: {input: {recordType: "Customer", name: "n", kind: TEXT}}) {
  changeSet { id } } }"""
CHANGE = """mutation P($o: String!, $n: String!) {
  passwordChange(input: {currentPassword: $o, newPassword: $n}) { userErrors { code } } }"""
GUESSED_LOGIN = "khach.la.nao.do"


class Session:
    """Asks a server; what it was given and must not log is in `secrets`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = ""
        self.secrets = {PASSWORD, WRONG, NEW, SEARCHED, GUESSED_LOGIN, *PEOPLE.values()}

    def raw(self, body: bytes, token: str | None = None, **headers: str) -> Any:
        token = self.token if token is None else token
        given = {"content-type": "application/json", **headers}
        if token:
            given["authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url, body, given)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)

    def ask(self, query: str, token: str | None = None, **variables: Any) -> Any:
        return self.raw(json.dumps({"query": query, "variables": variables}).encode(), token)

    def login(self, password: str, login: str = "an") -> Any:
        found = self.ask(LOGIN, "", l=login, p=password)["data"]["login"]
        self.secrets |= {found[name] for name in ("accessToken", "refreshToken") if found[name]}
        return found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, set[str]]:
    """All that a server wrote during the session, and what must not be in it."""
    folder = tmp_path_factory.mktemp("privacy")
    port = free_port()
    asked = {"CRM_LOG_LEVEL": "debug", "CRM_PORT": port}
    made = crm(folder, "workspace", "create", "default")
    assert made.returncode == 0, made.stderr
    made = crm(folder, "user", "create", "an", "--role", "Admin", "--password-stdin", given=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr
    with (folder / "log").open("wb") as written:
        server = subprocess.Popen([CRM, "serve"], cwd=folder, env=environment(**asked), stdout=written, stderr=written)
        try:
            session = Session(f"http://127.0.0.1:{port}/graphql")
            _wait(port, server)
            _act(session)
        finally:
            server.terminate()
            server.wait(PATIENCE)
    return (folder / "log").read_text(), session.secrets


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server did not start")


def _act(session: Session) -> None:
    """Sign in, guess, write, ask, fail in every way that carries values, and run a job."""
    assert session.login(WRONG)["userErrors"]
    session.login(WRONG, GUESSED_LOGIN)
    session.login(PASSWORD, PASSWORD)
    session.token = session.login(PASSWORD)["accessToken"]
    refresh = session.login(PASSWORD)["refreshToken"]
    exchange = "mutation R($t: String!) { tokenRefresh(input: {refreshToken: $t}) { accessToken refreshToken } }"
    for _ in range(2):  # the second time it ends the session
        found = session.ask(exchange, "", t=refresh)["data"]["tokenRefresh"]
        session.secrets |= {token for token in found.values() if token}
    made = 'mutation K { apiKeyCreate(input: {name: "k", allowed: ["*:*"]}) { key } }'
    key = session.ask(made)["data"]["apiKeyCreate"]["key"]
    session.secrets.add(key)
    customer = {**PEOPLE, "kind": "PERSON"}
    assert session.ask(CREATE, i=customer)["data"]["customerCreate"]["customer"]
    # Refused by a check, and by types, and by what PostgreSQL cannot store.
    assert session.ask(CREATE, key, i=customer)["data"]["customerCreate"]["userErrors"]
    session.ask(CREATE, i={**customer, "kind": PEOPLE["email"]})
    session.ask(CREATE, i={**customer, "birthday": PEOPLE["phone"]})
    session.ask(CREATE, i=customer, k=PEOPLE["email"])
    session.ask("query($i: ID) { customer(id: $i) { id } }", i=PEOPLE["email"])
    session.ask("query($n: Int) { customers(first: $n) { nodes { id } } }", n=10**12)
    session.ask(f'{{ customers(search: "{SEARCHED}") {{ nodes {{ id }} }} }}')
    session.ask(f'{{ customers(search: "{SEARCHED}" {{')
    session.ask(f'{{ customers(search: "{SEARCHED}") {{ {GUESSED_LOGIN.replace(".", "_")} }} }}')
    session.ask("query($a: String) { customers(first: 5, after: $a) { nodes { id } } }", a=PEOPLE["email"])
    session.ask("{ viewer { login } }", "crm_" + "0" * 32 + "_" + WRONG.encode("ascii", "ignore").decode())
    session.raw(f'{{"query": "{PEOPLE["phone"]}'.encode())
    session.raw(b'{"query": "{ viewer { login } }", "variables": {"x": "\\ud800' + PEOPLE["phone"].encode() + b'"}}')
    session.raw(b"{}", **{"x-request-id": PEOPLE["email"] + " "})
    session.ask(CUSTOM)
    session.ask(CHANGE, o=WRONG, n=NEW)
    session.ask(CHANGE, o=PASSWORD, n=NEW)
    session.ask("mutation { logout { userErrors { code } } }")


def test_no_line_of_the_log_holds_a_secret_or_somebodys_data(log: tuple[str, set[str]]) -> None:
    written, secrets = log
    assert len(secrets) >= 15
    for line in written.splitlines():
        for secret in secrets:
            assert secret not in line
            assert json.dumps(secret)[1:-1] not in line
            assert repr(secret)[1:-1] not in line


def test_each_request_is_one_line_that_says_what_was_done(log: tuple[str, set[str]]) -> None:
    lines = [json.loads(line) for line in log[0].splitlines() if line.startswith("{")]
    requests = [line for line in lines if line["event"] == "request"]
    assert len(requests) >= 20
    assert len({line["request_id"] for line in requests}) == len(requests)
    (created, *_) = [line for line in requests if line["operation"] == "C"]
    assert created["workspace"] == "default"
    assert len(created["actor_id"]) == 36
    assert created["status"] == 200
    assert created["ms"] > 0
    assert {"UNAUTHENTICATED", "GRAPHQL_PARSE_FAILED", "BAD_USER_INPUT"} <= {c for r in requests for c in r["codes"]}
