"""What is a secret, by its name, and what is not."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.errors import UsageError
from taskgrove.redaction import (
    REDACTED,
    Redaction,
    holds_redacted,
    without_url_passwords,
)
from taskgrove.redaction import (
    secret_names as names,
)

RULE = Redaction()

SECRETS = (
    "PASSWORD", "password", "DB_PASSWORD", "dbPassword", "PGPASSWD", "db-passwd", "--password",
    "SECRET", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "client.secret", "GITHUB_TOKEN",
    "CI_JOB_TOKEN", "accessToken", "API_KEY", "APIKEY", "apiKey", "X-Api-Key", "PRIVATE_KEY",
    "SSH_PRIVATE_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "AUTH", "BASIC_AUTH", "Authorization",
    "COOKIE", "Set-Cookie", "SESSION_KEY", "PASSPHRASE", "HTTPAuthToken", "MYSQL_PWD",
    "PASSWORD2", "accessToken1", "API_KEYS3",
)  # fmt: skip
NO_SECRETS = (
    "AUTHOR", "GIT_AUTHOR_NAME", "AUTHORITY", "KEYBOARD", "PATH", "HOME", "PWD", "OLDPWD", "KEY",
    "MONKEY", "TOKENIZER", "SECRETARY", "PASSES", "COMPASS", "BYPASS", "SSH_AUTH_SOCK",
    "XAUTHORITY",
    "n_peaks", "ACCESS", "SESSION", "API", "KEYS", "COOKIECUTTER", "PASSENGER", "TANGO_HOST",
)  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert RULE.is_secret(name)
    assert RULE.environment({name: "x"}) == {name: REDACTED}


@pytest.mark.parametrize("name", NO_SECRETS)
def test_other_names_are_left_alone(name: str) -> None:
    assert not RULE.is_secret(name)
    assert RULE.environment({name: "x"}) == {name: "x"}


def test_that_there_is_no_value_is_no_secret() -> None:
    assert RULE.environment({"TOKEN": ""}) == {"TOKEN": ""}
    assert RULE.plain({"token": None, "auth": True}) == {"token": None, "auth": True}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pw@host/db", f"postgresql://me:{REDACTED}@host/db"),
        ("redis://:pw@host", f"redis://:{REDACTED}@host"),
        ("https://me:p@ss@host/x", f"https://me:{REDACTED}@host/x"),
        ("https://me:p/w@host/x", f"https://me:{REDACTED}@host/x"),
        ("see a://b:c@d and e://f:g@h", f"see a://b:{REDACTED}@d and e://f:{REDACTED}@h"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("http://host/a:b", "http://host/a:b"),
        ("tango://host:10000/a/b/c#dbase=no", "tango://host:10000/a/b/c#dbase=no"),
        ("me@host:/path", "me@host:/path"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        (
            "postgresql://host/db?user=me&password=pw&sslmode=require",
            f"postgresql://host/db?user=me&password={REDACTED}&sslmode=require",
        ),
        ("https://host/x?access_token=pw#there", f"https://host/x?access_token={REDACTED}#there"),
    ],
)
def test_passwords_of_urls_are_redacted(text: str, shown: str) -> None:
    assert without_url_passwords(text) == shown
    assert RULE.environment({"WHERE": text}) == {"WHERE": shown}


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (("x", "--token=a"), ("x", f"--token={REDACTED}")),
        (("x", "--token", "a", "b"), ("x", "--token", REDACTED, "b")),
        (("x", "--db-password", "a"), ("x", "--db-password", REDACTED)),
        (("x", "--token", "--verbose"), ("x", "--token", "--verbose")),
        (("x", "PGPASSWORD=a", "psql"), ("x", f"PGPASSWORD={REDACTED}", "psql")),
        (("x", "--author", "me"), ("x", "--author", "me")),
        (("x", "--db=pg://u:pw@h/d"), ("x", f"--db=pg://u:{REDACTED}@h/d")),
        (("x", "--db", "pg://u:pw@h/d?a=b"), ("x", "--db", f"pg://u:{REDACTED}@h/d?a=b")),
        (("x", "a=b", "n=3"), ("x", "a=b", "n=3")),
        (("x", "--token"), ("x", "--token")),
        (("x", "password", "reset"), ("x", "password", "reset")),
        (("x", "-H", "Authorization: Bearer a"), ("x", "-H", f"Authorization: {REDACTED}")),
        (("x", "--header=X-Api-Key: a b"), ("x", f"--header=X-Api-Key: {REDACTED}")),
        (("x", "--env=CI_TOKEN=a"), ("x", f"--env=CI_TOKEN={REDACTED}")),
        (("x", "--set=a=b", "see: that"), ("x", "--set=a=b", "see: that")),
    ],
)
def test_secrets_on_a_command_line_are_redacted(
    argv: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    assert RULE.argv(argv) == shown


def test_plain_data_is_redacted_at_any_depth_and_left_as_it_was() -> None:
    data = {"a": [{"token": "x", "n": 3}], "secrets": {"k": 1}, "url": "a://b:c@d"}
    before = json.dumps(data)
    assert RULE.plain(data) == {
        "a": [{"token": REDACTED, "n": 3}],
        "secrets": REDACTED,
        "url": f"a://b:{REDACTED}@d",
    }
    assert json.dumps(data) == before
    assert holds_redacted(RULE.plain(data))
    assert not holds_redacted(data)


@pytest.mark.parametrize("value", [1234, 0, -1, 1.5, b"x", ["a"], [], {"a": 1}, object()])
def test_a_secret_of_any_type_is_redacted(value: object) -> None:
    assert RULE.plain({"password": value}) == {"password": REDACTED}


def test_a_map_in_text_is_redacted_and_stays_a_map() -> None:
    text = (
        "configure:\n"
        "  type: sequential  # tokens: none\n"
        "  tasks:\n"
        "    login: {handler: internal, command_name: login,"
        ' argin: {user: me, password: "hunter2", api_key: abc}}\n'
        "    other: {handler: internal, command_name: go, argin: 'token=abc'}\n"
    )
    shown = RULE.text(text)
    assert "hunter2" not in shown
    assert "abc" not in shown
    login = yaml.safe_load(shown)["configure"]["tasks"]["login"]
    assert login["argin"] == {"user": "me", "password": REDACTED, "api_key": REDACTED}
    assert (
        RULE.text('{\n"password": "hunter2", "n": 3}') == f'{{\n"password": "{REDACTED}", "n": 3}}'
    )
    assert RULE.text("a: 1\npassword: null\ntoken:\n  b: 2\n") == (
        "a: 1\npassword: null\ntoken:\n  b: 2\n"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password: two words, and more\nn: 3\n", f"password: {REDACTED}\nn: 3\n"),
        ("password: 1234\nn: 3\n", f"password: {REDACTED}\nn: 3\n"),
        ("password: abc\n  def\n  ghi\nn: 3\n", f"password: {REDACTED}\nn: 3\n"),
        ("a:\n  token: abc\n\n    def\n  n: 3\n", f"a:\n  token: {REDACTED}\n  n: 3\n"),
        ("{token: abc\n  def, n: 3}\n", f"{{token: {REDACTED}, n: 3}}\n"),
        ("password: ab,cd}\nn: 3\n", f"password: {REDACTED}}}\nn: 3\n"),
        ("Authorization: Bearer abc\nn: 3\n", f"Authorization: {REDACTED}\nn: 3\n"),
        ("password: !!str &x abc\nn: 3\n", f"password: {REDACTED}\nn: 3\n"),
        ("- password: |\n    abc\n\n    def\n  n: 3\n", f"- password: {REDACTED}\n  n: 3\n"),
        ("password: >-  # folded\n  abc\nn: 3\n", f"password: {REDACTED}\nn: 3\n"),
        ('a:\n  token: "abc\n    def"\n  n: 3\n', f'a:\n  token: "{REDACTED}"\n  n: 3\n'),
        ("tokens:\n- abc\n- def\nn: 3\n", f"tokens: {REDACTED}\nn: 3\n"),
        ("tokens:\n  - abc\n\nn: 3\n", f"tokens: {REDACTED}\n\nn: 3\n"),
        ("tokens: [abc, 'd e']\nn: 3\n", f"tokens: {REDACTED}\nn: 3\n"),
        ('{\n"tokens": [\n  "abc"\n],\n"n": 3}', f'{{\n"tokens": {REDACTED},\n"n": 3}}'),
        ("[{token: a b, n: 3}]\n", f"[{{token: {REDACTED}, n: 3}}]\n"),
        ("{token: a b, n: 3}\n", f"{{token: {REDACTED}, n: 3}}\n"),
        ("token: 'it''s'\nn: 3\n", f"token: '{REDACTED}'\nn: 3\n"),
        ("export CI_TOKEN=a b\nn=3\n", f"export CI_TOKEN={REDACTED}\nn=3\n"),
        # A mapping is gone through by its own names: a step may be called like this.
        ("auth:\n  handler: go\n  token: a\n", f"auth:\n  handler: go\n  token: {REDACTED}\n"),
        ("auth:\n- handler: go\n", "auth:\n- handler: go\n"),
        ("password:\nn: 3\n", "password:\nn: 3\n"),
    ],
)
def test_a_value_in_a_text_is_redacted_to_its_end(text: str, shown: str) -> None:
    assert RULE.text(text) == shown
    assert RULE.text(shown) == shown


@given(
    st.text("ab:=,;#'\"{}[]()!&*?|>-\\ ", min_size=1).map(lambda s: f"S{s}S"),
    st.sampled_from(["password", "my_token", "api-key"]),
    st.sampled_from(['"', "'", None]),
    st.booleans(),
)
def test_no_scalar_of_yaml_shows_through(
    value: str, name: str, style: str | None, flow: bool
) -> None:
    """Whatever a YAML library writes, and reads back as a secret, is not to be seen."""
    data = {"a": [{name: value, "n": 3}], "b": "kept"}
    text = yaml.safe_dump(data, default_style=style, default_flow_style=flow, width=40) + "\n"
    shown = RULE.text(text)
    assert "S" not in shown
    assert "kept" in shown


def test_json_is_redacted_inside() -> None:
    assert json.loads(RULE.json('{"token": "x", "n": [1, 2]}')) == {"token": REDACTED, "n": [1, 2]}
    plain = '{"n":   3}'
    assert RULE.json(plain) == plain
    assert "pw" not in RULE.json("no json, but a://b:pw@c")


def test_the_rule_can_be_changed() -> None:
    rule = Redaction(also=["beam_*"], never=["token"])
    assert rule.environment({"BEAM_CODE": "x", "TOKEN": "y", "PASSWORD": "z"}) == {
        "BEAM_CODE": REDACTED, "TOKEN": "y", "PASSWORD": REDACTED,
    }  # fmt: skip
    off = Redaction(off=True)
    assert off.environment({"PASSWORD": "z"}) == {"PASSWORD": "z"}
    assert off.argv(("--token=a",)) == ("--token=a",)
    assert off.plain({"token": "a://b:c@d"}) == {"token": "a://b:c@d"}


def test_the_rule_can_be_changed_by_the_environment() -> None:
    def rule(text: str) -> Redaction:
        return Redaction.from_environment({"TASKGROVE_REDACT": text})

    assert rule("").is_secret("TOKEN")
    changed = rule("beam_code, +shift_*,-token")
    assert changed.is_secret("BEAM_CODE")
    assert changed.is_secret("SHIFT_PIN")
    assert not changed.is_secret("TOKEN")
    assert changed.is_secret("PASSWORD")
    assert not rule("off").is_secret("PASSWORD")
    for wrong in ("off,token", "-", "a,+"):
        with pytest.raises(UsageError, match="TASKGROVE_REDACT cannot be read"):
            rule(wrong)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(SECRETS), inner),
    max_leaves=20,
))  # fmt: skip
def test_redacting_twice_is_redacting_once(data: object) -> None:
    once = RULE.plain(data)
    assert RULE.plain(once) == once


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASS", "PASS", "SSHPASS", "ADMINPW", "DB_PW", "GH_PAT", "PAT", "JWT", "SENTRY_DSN",
        "MASTER_KEY", "sshKey", "AccountKey", "SharedAccessSignature", "connectionString",
        "session_id", "SLACK_WEBHOOK_URL", "USER_PIN", "PASSWORD_SALT", "WPA_PSK", "AZURE_SAS_URL",
        "_authToken", "client-key-data",
    ],
)  # fmt: skip
def test_whole_words_tell_a_secret(name: str) -> None:
    assert RULE.is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "keyboard", "passband", "monkey", "compass", "bypass", "COMPASS_HEADING", "token_count",
        "key_frame", "keywords", "tokens_per_s", "max_tokens", "passes", "primary_key", "sort_key",
        "band_pass", "first_pass", "sample_pin", "spin", "buffer_salt", "sas_model", "patient",
        "password_file", "token_type", "TokenError", "InvalidTokenError", "public_key", "hotkey",
    ],
)  # fmt: skip
def test_other_words_tell_none(name: str) -> None:
    assert not RULE.is_secret(name)
    assert RULE.said(f"{name}=abc123x") == f"{name}=abc123x"


def test_no_name_of_a_secret_is_missed_by_the_quick_look() -> None:
    words = names._WORDS | names._PAIRS | names._WEAK.keys() | names._WEAK_BEHIND.keys()
    keys = {f"{word}_key" for word in names._KEYS}
    assert [word for word in words | keys if not names.may_name_a_secret(word.upper())] == []


def test_a_small_number_is_no_secret_where_the_name_may_mean_something_else() -> None:
    data = {"pass": 2, "pin": "17", "password": 2}
    assert RULE.plain(data) == {"pass": 2, "pin": "17", "password": REDACTED}
    assert RULE.said("PASS: check_lock, pass=2") == "PASS: check_lock, pass=2"
    assert RULE.text("pass: 2\npin: abc1\n") == f"pass: 2\npin: {REDACTED}\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("login failed: password=hunter2, try", f"login failed: password={REDACTED}, try"),
        ("password: hunter2", f"password: {REDACTED}"),
        ("api_key: Field required", "api_key: Field required"),
        ("token: expired", "token: expired"),
        ("Access(api_key='two words', n=3)", f"Access(api_key='{REDACTED}', n=3)"),
        ('{"token":"a1","n":3}', f'{{"token":"{REDACTED}","n":3}}'),
        ('{"pin":12345,"n":3}', f'{{"pin":{REDACTED},"n":3}}'),
        (r'"{\"token\": \"a1\"}"', r'"{\"token\": \"' + REDACTED + r'\"}"'),
        ("Cookie: sid=a b; c=d", f"Cookie: {REDACTED}"),
        ("Server=h;Pwd=a1;Db=x", f"Server=h;Pwd={REDACTED};Db=x"),
        ("tool --token a1 --n 3", f"tool --token {REDACTED} --n 3"),
        ("use --token TOKEN", "use --token TOKEN"),
        ("configure/auth: mid-csp/1 says no", "configure/auth: mid-csp/1 says no"),
        ("auth::login(x)", "auth::login(x)"),
        ("wrong password 'a1b2c3' for me", f"wrong password '{REDACTED}' for me"),
        ("token a1b2c3 has expired", f"token {REDACTED} has expired"),
        ("the password is of the wrong kind", "the password is of the wrong kind"),
        ("token beam01 has expired", "token beam01 has expired"),
        ("<password>a1</password><n>3</n>", f"<password>{REDACTED}</password><n>3</n>"),
        ("db_pass: a1, pass: a1b2, pass: all", f"db_pass: {REDACTED}, pass: {REDACTED}, pass: all"),
        ("redis-cli -a a1 ping", f"redis-cli -a {REDACTED} ping"),
        ("openssl -passin pass:a1 x", f"openssl -passin pass:{REDACTED} x"),
        ("sent Bearer abc123def", f"sent Bearer {REDACTED}"),
        ("bearer authentication failed", "bearer authentication failed"),
        ("https://a1b2c3@host/x", f"https://{REDACTED}@host/x"),
        ("machine h login me password a1", f"machine h login me password {REDACTED}"),
        ("db.example.org:5432:d:me:a1b2", f"db.example.org:5432:d:me:{REDACTED}"),
        ("main.c:12:5: error: no", "main.c:12:5: error: no"),
        ("mid-cbf/subarray/01: step 2 of 5", "mid-cbf/subarray/01: step 2 of 5"),
    ],
)
def test_secrets_in_what_somebody_says_are_redacted(text: str, shown: str) -> None:
    assert RULE.said(text) == shown
    assert RULE.said(shown) == shown


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ("mysql -pa1 -p db", f"mysql -p{REDACTED} -p db"),
        ("sshpass -p a1 ssh -p 22 h", f"sshpass -p {REDACTED} ssh -p 22 h"),
        ("curl -u me:a1 h", f"curl -u me:{REDACTED} h"),
        ("docker run -u 1000:1000 -p 80:80 x", "docker run -u 1000:1000 -p 80:80 x"),
        ("docker login -u me -p a1", f"docker login -u me -p {REDACTED}"),
        ("tool -p x1y2z3 -p run00123 -p a/b", f"tool -p {REDACTED} -p run00123 -p a/b"),
    ],
)
def test_short_flags_mean_what_their_program_says(argv: str, shown: str) -> None:
    assert RULE.argv(argv.split()) == tuple(shown.split())


def test_a_list_with_flags_is_a_command_line_and_an_entry_has_a_name() -> None:
    assert RULE.plain(["--token", "a1"]) == ["--token", REDACTED]
    entry = {"name": "DB_PASS", "value": "a1"}
    assert RULE.plain([entry]) == [{"name": "DB_PASS", "value": REDACTED}]


def test_what_was_known_by_its_name_is_found_again() -> None:
    rule = Redaction()
    rule.remember({"DB_PASSWORD": "zq1x7", "TOKEN": "zq2x7+vault", "password": "subarray"})
    rule.remember(["tool", "--token", "zq3x7vault", "--set", "a.secret=zq4x7vault"])
    rule.remember("go:\n  password: zq5x7vault\n")
    for value in ("zq2x7+vault", "zq2x7%2Bvault", "zq3x7vault", "zq4x7vault", "zq5x7vault"):
        assert rule.said(f"no entry for {value} there") == f"no entry for {REDACTED} there"
    # A short value and a plain word may stand there by chance.
    assert rule.said("zq1x7 in subarray 1") == "zq1x7 in subarray 1"
    assert Redaction(off=True).said("password=zq1x7vault") == "password=zq1x7vault"


def test_data_in_base64_stays_as_it_is() -> None:
    data = "AAAA+" + "AK" + "IA" + "A" * 16 + "+" + "A" * 400
    assert RULE.said(data) == data


#: Pieces that patterns begin with, or that they look far ahead for.
PIECES = (
    "a", "a:", "password: ", 'password="', "{password: ", "token: field ", 'password=a,"b', "a://b:",
    "a://", "eyJ", "-----BEGIN PRIVATE KEY-----", "login x password ", "Bearer a", "curl -u a:",
    "mysql -", "--token ", "$6$", "sk-a-", "?password=", "a:1:b:c:d\n", "a.b:12:", "\\", "'", " ",
    "password:\n", "  password: a\n",
)  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_hostile_texts_take_steps_in_proportion_to_their_length(piece: str) -> None:
    """It ends at once; with a pattern of quadratic time it would take minutes."""
    text = piece * (200_000 // len(piece)) + "\n@"
    for shown in (RULE.said(text), RULE.text(text)):
        assert len(shown) > 1
