"""An audit: secrets of every kind come in by every way, and are looked for wherever it goes out.

All are made up here, when the test runs, in the forms that services have published.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import string
from collections.abc import Callable
from pathlib import Path

from taskgrove.redaction import REDACTED
from tests.cli.command_line import environment, taskgrove

#: What the issue allows to be missed.
MISSED_AT_MOST = 5

NAMES = re.findall(
    r"\w+",
    """
DB_PASS SMTP_PASS SSHPASS ELOG_PASS RABBITMQ_DEFAULT_PASS PASS DB_PW LDAP_BIND_PW ROOT_PW ADMINPW
DB_PASSWD PGPASSWORD MYSQL_PWD SLURM_JWT CI_JOB_JWT JWT GITHUB_PAT GH_PAT AZURE_DEVOPS_EXT_PAT
FERNET_KEY MASTER_KEY AZURE_STORAGE_KEY ACCOUNT_KEY SSH_KEY SENTRY_DSN BEARER PASSCODE OTP CREDS
SESSIONID CONNECTION_STRING SLACK_WEBHOOK_URL ENCRYPTION_PASSWORD AWS_SECRET_ACCESS_KEY
CLIENT_SECRET REFRESH_TOKEN SIGNING_KEY PASSWORD_SALT AZURE_SAS_URL GPG_PASSPHRASE USER_PIN
DJANGO_SECRET_KEY WPA_PSK X_API_KEY SESSION_COOKIE HTTP_AUTHORIZATION LICENSE_KEY HOOK_SECRET2
    """,
)
PARAMETERS = re.findall(
    r"\w+",
    """
api_key dbPassword clientSecret private_key accessToken smtp_pass ldap_pw webhookUrl authorization
cookie passphrase signing_key
    """,
)


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
#: Words of a command line; a bar stands between two of them.
WORDS = (
    "--password={}", "--token|{}", "--db-password|{}", "-password|{}", "DB_PASS={}",
    "--env=CI_TOKEN={}", "-H|Authorization: Bearer {}", "--url=https://me:{}@h/", "-u|me:{}",
    "--header=X-Api-Key: {}", "--auth|{}", "-p|{}",
)  # fmt: skip
PLAIN = re.findall(
    r"\w+",
    """
KEYBOARD COMPASS_HEADING BYPASS_MODE SPIN_STATE MONKEY PATTERN AUTHOR PASSBAND_HZ TOKEN_COUNT
KEY_FRAME KEYWORDS TOKENS_PER_S PASSES PRIMARY_KEY SORT_KEY BAND_PASS LOW_PASS FIRST_PASS SAMPLE_PIN
PINHOLE BUFFER_SALT SALT_CONCENTRATION SAS_MODEL TOKENIZER SECRETARY AUTHORITY HOTKEY TURKEY
PASSENGER PASSIVE COMPASSION ACCESS API SESSION_NAME SPINS DESALTED BASALT DATA_KEY MASK_KEY
CACHE_KEY PATIENT PWM_DUTY HASHES CODEC PHRASING VAULTED DSNAP COOKIECUTTER CREDITS SIGNAL SIGMA
AUTHOR_NAME KEYS KEY PASSTHROUGH MAX_TOKENS N_PASS PUBLIC_KEY TRESPASS ENCOMPASS
    """,
)


PROGRAM = """
import json
from pathlib import Path

from taskgrove.analysis import AnalysisEntry, AnalysisTask, Parameter, TaskParameters

GIVEN = json.loads(Path("given.json").read_text())


class Access(TaskParameters):
    nested: dict = Parameter(default_factory=dict)
    words: list = Parameter(default_factory=list)


class Ask(AnalysisTask[Access]):
    def run(self):
        for text in GIVEN["texts"]:
            self.log.warning(text)
            print(text)
            self.report_progress(50, text)
        return self.result({"texts": GIVEN["texts"], **GIVEN["parameters"]}, GIVEN["texts"][0])


ENTRIES = [AnalysisEntry("AskServer", Access, task="prog:Ask")]
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


class Given:
    """What goes in, and the secrets among it by the way each of them goes in."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self._numbers = itertools.count()
        self.plain = {name: f"plain{n}shown" for n, name in enumerate(PLAIN)}
        self.by_name = {name: self.new(f"variable {name}") for name in NAMES}
        self.by_form = {
            f"SETTING_{n}": self.new(f"key of {kind}", make(n))
            for n, (kind, make) in enumerate(FORMS.items())
        }
        self.texts = [text.format(self.new(f"text of {kind}")) for kind, text in TEXTS.items()]
        self.parameters = {name: self.new(f"parameter {name}") for name in PARAMETERS}
        self.words = [
            part.format(self.new(f"word {word}")) if "{}" in part else part
            for word in WORDS
            for part in word.split("|")
        ]

    def new(self, way: str, value: str | None = None) -> str:
        """Return a secret of which nothing but its name, or the text around it, tells."""
        number = next(self._numbers)
        self.secrets[way] = f"zq{number:03}x7vault" if value is None else value
        return self.secrets[way]

    def variables(self) -> dict[str, str]:
        """Return the environment."""
        texts = {f"TEXT_{n}": text for n, text in enumerate(self.texts)}
        return {**self.by_name, **self.by_form, **self.plain, **texts}

    def write(self, place: Path) -> None:
        """Write a configuration, a map and what they need into a folder."""
        (place / "prog.py").write_text(PROGRAM)
        (place / "site_manager.py").write_text(MANAGER)
        files = {
            "given.json": {"texts": self.texts, "parameters": self.parameters},
            "c.yaml": {
                "header": {"experiment": "e", "run": 1, "work_dir": "work"},
                "AskServer": {
                    "nested": {"server": {**self.parameters, **self.plain}},
                    "words": self.words,
                },
            },
            "map.yaml": {"go": {"type": "parallel", "tasks": self._tasks()}},
        }
        for name, data in files.items():
            (place / name).write_text(json.dumps(data))

    def _tasks(self) -> dict[str, object]:
        return {
            f"step{n}": {
                "handler": "internal",
                "command_name": f"fail_{n}",
                "argin": {"token": self.new(f"argument {n}")},
            }
            for n in range(len(TEXTS))
        }


def test_no_secret_goes_out_and_no_ordinary_value_is_hidden(tmp_path: Path) -> None:
    given = Given()
    given.write(tmp_path)
    record = {"TASKGROVE_DB": str(tmp_path / "record.db")}
    surroundings = {**environment(), **given.variables(), **record}
    shown = {}

    def say(*words: str) -> None:
        done = taskgrove(*words, cwd=tmp_path, env=surroundings)
        shown[" ".join(words)] = done.stdout + done.stderr

    for words, surface in itertools.product(
        (
            ("analyse", "c.yaml", "AskServer", "--analyses", "prog"),
            ("run", "map.yaml", "go", "--manager", "site_manager:Manager"),
        ),
        ("--json", "--no-live"),
    ):
        say(*words, surface)
        if surface == "--no-live":
            for form in ("html", "jsonl"):
                say("runs", "export", "last", "--output", f"{words[0]}.{form}")
            for form in ("html", "jsonl"):
                file = tmp_path / f"{words[0]}.{form}"
                shown[file.name] = file.read_text()
    say("why", "last")
    say("runs", "show", "last", "--json")
    for file in tmp_path.glob("record.db*"):
        shown[file.name] = file.read_bytes().decode("latin-1")
    missed = {
        way: places
        for way, value in given.secrets.items()
        if (places := [place for place, text in shown.items() if value in text])
    }
    assert len(given.secrets) >= 126
    assert len(missed) <= MISSED_AT_MOST, missed
    kept = "".join(text for place, text in shown.items() if place.startswith("record.db"))
    assert [name for name, value in given.plain.items() if value not in kept] == []
    assert len(given.plain) >= 60
    assert REDACTED in kept
