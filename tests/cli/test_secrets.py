"""An audit: secrets of every kind come in by every way, and are looked for wherever it goes out.

All are made up here, when the test runs, in the forms that services have published.
"""

from __future__ import annotations

import itertools
import json
import random
import string
from collections.abc import Callable, Iterator
from pathlib import Path

from taskgrove.redaction import REDACTED
from tests.cli.command_line import environment, taskgrove

#: What the issue allows to be missed.
MISSED_AT_MOST = 5

NAMES = """
DB_PASS SMTP_PASS SSHPASS ELOG_PASS RABBITMQ_DEFAULT_PASS PASS DB_PW LDAP_BIND_PW ROOT_PW ADMINPW
DB_PASSWD PGPASSWORD MYSQL_PWD SLURM_JWT CI_JOB_JWT JWT GITHUB_PAT GH_PAT AZURE_DEVOPS_EXT_PAT
FERNET_KEY MASTER_KEY AZURE_STORAGE_KEY ACCOUNT_KEY SSH_KEY SENTRY_DSN BEARER PASSCODE OTP CREDS
SESSIONID CONNECTION_STRING SLACK_WEBHOOK_URL ENCRYPTION_PASSWORD AWS_SECRET_ACCESS_KEY
CLIENT_SECRET REFRESH_TOKEN SIGNING_KEY PASSWORD_SALT AZURE_SAS_URL GPG_PASSPHRASE USER_PIN
DJANGO_SECRET_KEY WPA_PSK X_API_KEY SESSION_COOKIE HTTP_AUTHORIZATION LICENSE_KEY HOOK_SECRET2
""".split()
PARAMETERS = """
api_key dbPassword clientSecret private_key accessToken smtp_pass ldap_pw webhookUrl authorization
cookie passphrase signing_key
""".split()


def _made(count: int, signs: str = string.ascii_letters + string.digits) -> Callable[[int], str]:
    return lambda seed: "".join(random.Random(seed).choices(signs, k=count))


LONG, HEX = _made(36), _made(40, "0123456789abcdef")
CAPITALS = _made(16, string.ascii_uppercase + string.digits)
#: Keys by their form alone; ``{}`` is what makes each of them another one.
FORMS: dict[str, Callable[[int], str]] = {
    "jwt": lambda n: f"eyJhbGciOiJIUzI1NiJ9.eyJ{LONG(n)}.{LONG(n + 1)}",
    "aws": lambda n: "AK" + "IA" + CAPITALS(n),
    "github": lambda n: "gh" + "p_" + LONG(n),
    "github fine": lambda n: "github" + "_pat_" + LONG(n),
    "gitlab": lambda n: "gl" + "pat-" + LONG(n)[:20],
    "slack": lambda n: "xo" + "xb-123456789012-" + LONG(n)[:24],
    "google": lambda n: "AI" + "za" + LONG(n)[:35],
    "google oauth": lambda n: "ya" + "29." + LONG(n),
    "stripe": lambda n: "sk" + "_live_" + LONG(n)[:24],
    "openai": lambda n: "s" + "k-proj-" + LONG(n) + "4x",
    "npm": lambda n: "np" + "m_" + LONG(n),
    "pypi": lambda n: "py" + "pi-AgEIcHlwaS5vcmc" + LONG(n),
    "docker": lambda n: "dckr" + "_pat_" + LONG(n)[:27],
    "sendgrid": lambda n: "S" + "G." + LONG(n)[:22] + "." + LONG(n + 1),
    "vault": lambda n: "hv" + "s." + LONG(n),
    "digitalocean": lambda n: "do" + "p_v1_" + HEX(n),
    "huggingface": lambda n: "h" + "f_" + LONG(n) + "7a",
    "telegram": lambda n: f"1234567890:{'A' * 2}{LONG(n)}",
}
#: Texts that hold a secret, as a program, a file or a device may write them.
TEXTS = {
    "libpq": "host=h dbname=d password={}",
    "odbc": "Server=h;User Id=u;Pwd={};",
    "azure": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={};",
    "header": "Authorization: Bearer {}",
    "proxy header": "Proxy-Authorization: Digest {}",
    "cookie": "Set-Cookie: sid={}; Path=/",
    "api header": "X-Api-Key: {}",
    "bearer": "sent Bearer {} to the server",
    "json": '{{"user": "me", "password": "{}"}}',
    "json in json": '"{{\\"token\\": \\"{}\\"}}"',
    "repr": "Access(user='me', api_key='{}')",
    "git": "fatal: https://{}@github.com/x/y.git not found",
    "git user": "https://x-access-token:{}@github.com/x/y.git",
    "broker": "amqp://{}@h/",
    "redis": "redis://:{}@cache:6379/0",
    "query": "https://h/x?access_token={}&n=3",
    "signed": "https://h/x?sv=1&sig={}",
    "s3": "https://h/x?X-Amz-Signature={}",
    "slack hook": "https://hooks.slack.com/services/T0/B0/{}",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
    "ssh": "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----",
    "ini": "user=x\npassword={}\n",
    "yaml": "user: x\npassword: {}\n",
    "netrc": "machine h login me password {}",
    "pgpass": "db.example.org:5432:d:me:{}",
    "npmrc": "//registry.example.org/:_authToken={}",
    "flag": "cannot run: tool --password {} --verbose",
    "flag equals": "cannot run: tool --db-password={} --verbose",
    "sshpass": "sshpass -p {} ssh host",
    "curl": "curl -u me:{} https://h/x",
    "sentence": "login as me failed, password: {}",
    "shadow": "me:$6$saltsalt${}xxxxxxxx:19000:0",
}
WORDS = (
    "--password={}", "--token {}", "--db-password {}", "-password {}", "DB_PASS={}",
    "--env=CI_TOKEN={}", "-H|Authorization: Bearer {}", "--url=https://me:{}@h/", "-u me:{}",
    "--header=X-Api-Key: {}", "--auth {}", "-p {}",
)  # fmt: skip
PLAIN = """
KEYBOARD COMPASS_HEADING BYPASS_MODE SPIN_STATE MONKEY PATTERN AUTHOR PASSBAND_HZ TOKEN_COUNT
KEY_FRAME KEYWORDS TOKENS_PER_S PASSES PRIMARY_KEY SORT_KEY BAND_PASS LOW_PASS FIRST_PASS SAMPLE_PIN
PINHOLE BUFFER_SALT SALT_CONCENTRATION SAS_MODEL TOKENIZER SECRETARY AUTHORITY HOTKEY TURKEY
PASSENGER PASSIVE COMPASSION ACCESS API SESSION_NAME SPINS DESALTED BASALT DATA_KEY MASK_KEY
CACHE_KEY PATIENT PWM_DUTY HASHES CODEC PHRASING VAULTED DSNAP COOKIECUTTER CREDITS SIGNAL SIGMA
AUTHOR_NAME KEYS KEY PASSTHROUGH MAX_TOKENS N_PASS PUBLIC_KEY TRESPASS ENCOMPASS
""".split()


def _values() -> Iterator[str]:
    return (f"zq{number:03}x7vault{number}" for number in itertools.count())


PROGRAM = """
import json, os
from pathlib import Path
from taskgrove.analysis import (
    AnalysisEntry, AnalysisTask, Parameter, TaskParameters, ThirdPartyParameters,
)

GIVEN = json.loads(Path("given.json").read_text())


class Access(TaskParameters):
    nested: dict = Parameter(default_factory=dict)
    words: list = Parameter(default_factory=list)


class Ask(AnalysisTask[Access]):
    def run(self):
        for text in GIVEN["texts"]:
            self.log.warning(text)
            print(text)
        for text in GIVEN["texts"]:
            self.report_progress(50, text)
        return self.result({"texts": GIVEN["texts"], **GIVEN["parameters"]}, GIVEN["texts"][0])


class Tool(ThirdPartyParameters):
    executable: str = "/bin/true"
    words: list[str] = Parameter(default_factory=list, flag="")


ENTRIES = [
    AnalysisEntry("AskServer", Access, task="prog:Ask"),
]
"""
MANAGER = """
import json
from pathlib import Path

GIVEN = json.loads(Path("given.json").read_text())


class Manager:
    def __getattr__(self, name):
        kind, _, number = name.partition("_")
        if kind != "fail":
            raise AttributeError(name)

        def fail(argin=None):
            raise RuntimeError(GIVEN["texts"][int(number)]) from ValueError(str(argin))

        return fail
"""


def test_no_secret_goes_out_and_no_ordinary_value_is_hidden(tmp_path: Path) -> None:
    values = _values()
    secrets: dict[str, str] = {}

    def new(kind: str, value: str | None = None) -> str:
        secrets[kind] = value if value is not None else next(values)
        return secrets[kind]

    by_name = {name: new(f"variable {name}") for name in NAMES}
    keys = {f"SETTING_{n}": new(f"key {kind}", make(n)) for n, (kind, make) in enumerate(FORMS.items())}
    texts = {kind: text.format(new(f"text {kind}")) for kind, text in TEXTS.items()}
    parameters = {name: new(f"parameter {name}") for name in PARAMETERS}
    lines = [word.format(new(f"word {word}")).replace("|", " ") for word in WORDS]
    plain = {name: f"plain{number}shown" for number, name in enumerate(PLAIN)}
    words = [
        part
        for line, word in zip(lines, WORDS, strict=True)
        for part in (
            line.split(" ", 1) if word.startswith("-") and not word.startswith("--header") else [line]
        )
    ]
    (tmp_path / "given.json").write_text(
        json.dumps({"texts": list(texts.values()), "parameters": parameters})
    )
    (tmp_path / "prog.py").write_text(PROGRAM)
    (tmp_path / "site_manager.py").write_text(MANAGER)
    (tmp_path / "argin.json").write_text(json.dumps({"cbf": {"password": new("argument"), **plain}}))
    config = {
        "header": {"experiment": "e", "run": 1, "work_dir": "work"},
        "AskServer": {"nested": {"server": {**parameters, **plain}}, "words": words},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    tasks = {
        f"step{n}": {"handler": "internal", "command_name": f"fail_{n}", "argin": {"token": new(f"map {n}")}}
        for n in range(len(TEXTS))
    }
    (tmp_path / "map.yaml").write_text(json.dumps({"go": {"type": "parallel", "tasks": tasks}}))
    variables = {
        **by_name, **keys, **plain, **{f"TEXT_{n}": text for n, text in enumerate(texts.values())},
        "TASKGROVE_DB": str(tmp_path / "record.db"), "PYTHONPATH": str(tmp_path),
    }  # fmt: skip

    surroundings = {**environment(), **variables}

    def said(*words: str) -> str:
        done = taskgrove(*words, cwd=tmp_path, env=surroundings)
        return done.stdout + done.stderr

    shown = {}
    asked = ("analyse", "c.yaml", "AskServer", "--analyses", "prog")
    shown["analyse"] = said(*asked, "--no-live")
    shown["analyse --json"] = said(*asked, "--json")
    said("runs", "export", "last", "--output", "analysis.html")
    said("runs", "export", "last", "--output", "analysis.jsonl")
    run = ("run", "map.yaml", "go", "--manager", "site_manager:Manager")
    shown["run"] = said(*run, "--no-live")
    shown["run --json"] = said(*run, "--json")
    for verb in (("why", "last"), ("runs", "show", "last"), ("runs", "show", "last", "--json"), ("why", "last", "--json")):
        shown[" ".join(verb)] = said(*verb)
    said("runs", "export", "last", "--output", "run.html")
    said("runs", "export", "last", "--output", "run.jsonl")
    for file in (*tmp_path.glob("record.db*"), *tmp_path.glob("*.html"), *tmp_path.glob("*.jsonl")):
        shown[file.name] = file.read_bytes().decode("latin-1")
    (tmp_path / "shown.json").write_text(json.dumps(shown))
    leaks = {
        kind: where
        for kind, value in secrets.items()
        if (where := [name for name, text in shown.items() if value in text])
    }
    print(len(secrets), json.dumps(leaks, indent=1))
    assert len(secrets) >= 126
    lost = [name for name, value in plain.items() if value not in shown["record.db"]]
    assert lost == []
    assert len(leaks) <= MISSED_AT_MOST, leaks
    assert REDACTED in shown["analyse"]
