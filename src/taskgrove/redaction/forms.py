"""Finding secrets in a text by their own form: keys of well-known services, headers, URLs.

The published forms of services' keys are looked for everywhere in a text, and so are private keys
in PEM, passwords of URLs, ``Bearer`` and ``Basic`` headers, and the lines of ``.netrc`` and
``.pgpass``. Each pattern goes once through a text, in linear time. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from taskgrove.redaction.secret_names import certainty_of, may_name_a_secret

#: The mark in place of a secret.
REDACTED: Final = "<redacted>"

#: Keys of services; each begins as its service has published.
_KEYS: Final = (
    r"eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)*",  # JWT, JWE
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"github_pat_\w{20,}",
    r"gl(?:pat|dt|rt|cbt|ptt|soat|ft|agent|imt|oas)-[\w.-]{16,}",
    r"xox[a-z](?:\.xox[a-z])?-[\w-]{10,}",  # Slack
    r"xapp-\d-[\w-]{10,}",
    r"AIza[\w-]{30,}",  # Google
    r"ya29\.[\w-]{16,}",
    r"GOCSPX-[\w-]{16,}",
    r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}",  # Stripe
    r"whsec_[A-Za-z0-9+/=]{16,}",
    r"sk-(?=[A-Za-z_-]*\d)[\w-]{20,}",  # OpenAI, Anthropic and others
    r"(?:gsk|xai|pplx|r8|hf|fw|nvapi|tvly)[_-](?=[A-Za-z_-]*\d)[\w-]{20,}",
    r"npm_[A-Za-z0-9]{20,}",
    r"pypi-(?=[a-z0-9_-]*[A-Z])[\w-]{20,}",
    r"rubygems_[a-f0-9]{20,}",
    r"dckr_(?:pat|oat)_[\w-]{16,}",
    r"do[opr]_v1_[a-f0-9]{20,}",
    r"SG\.[\w-]{16,}\.[\w-]{16,}",  # SendGrid
    r"key-[0-9a-f]{32}(?![0-9a-z])",  # Mailgun
    r"SK[0-9a-f]{32}(?![0-9a-z])",  # Twilio
    r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{20,}",
    r"sq0(?:atp|csp)-[\w-]{16,}",
    r"dapi[a-f0-9]{32}",  # Databricks
    r"hv[sbr]\.[\w-]{16,}",  # HashiCorp
    r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{20,}",
    r"AT(?:ATT3|CTT3|BB)[\w=-]{20,}",  # Atlassian
    r"gl(?:sa|c)_[\w=+/]{20,}",  # Grafana
    r"sntry[su]_[\w=+/-]{20,}",
    r"NRAK-[A-Z0-9]{20,}",
    r"PMAK-[a-f0-9-]{20,}",
    r"xkeysib-[a-f0-9-]{20,}",
    r"lin_api_[A-Za-z0-9]{20,}",
    r"ntn_[A-Za-z0-9]{20,}",
    r"figd_[\w-]{20,}",
    r"tskey-[a-z]+-[\w-]{12,}",
    r"ops_eyJ[\w=-]{20,}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{20,}",
    r"\d{8,10}:AA[\w-]{30,}",  # Telegram
)
_KEY: Final = re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(_KEYS)})")
#: Only in a run of so many signs can a key stand.
_LONG: Final = re.compile(r"[\w.-]{16}")
#: Longer data in base64, such as an array's, may hold anything by chance.
_LONGEST_KEY: Final = 300
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+=*")
#: Private keys; a key without its end goes on to the end of the text.
_PEM: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_PUTTY: Final = re.compile(r"(Private-Lines: \d+)\s.*?(?=\nPrivate-MAC|\Z)", re.DOTALL)
#: Hashes of passwords, as in ``/etc/shadow`` and ``.htpasswd``.
_CRYPT: Final = re.compile(
    r"\$(?:1|5|6|y|apr1|2[abxy]|argon2(?:id|i|d))\$[./A-Za-z0-9$=,+]{16,}|\{SS?HA\d{0,3}\}[\w+/=]{16,}"
)
#: ``Bearer …``: a key has a digit or a capital inside.
_SCHEME: Final = re.compile(
    r"\b(Bearer|Token|Basic|Negotiate|ApiKey)([ \t]+)([\w.~+/=-]{6,4096})", re.IGNORECASE
)
#: A shorter value behind ``Token`` may be a word of a sentence.
_LONG_VALUE: Final = 16
#: Places of webhooks, whose path is the secret.
_HOOK: Final = re.compile(
    r"(https://(?:hooks\.slack\.com/(?:services|workflows|triggers)"
    r"|(?:\w{1,20}\.)?discord(?:app)?\.com/api/webhooks|[\w-]{1,63}\.webhook\.office\.com/webhookb2"
    r"|api\.telegram\.org/bot)/?)[\w/.@:-]+"
)
#: A password may hold an ``@``; a password with a slash is told from a port and a path. Longer
#: passwords are not looked for, so that the time stays linear.
_URL_PASSWORD: Final = re.compile(
    r"((?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,40}+://)([^\s:/@?#]*+)"
    r"(:(?:[^\s/]{1,160}(?=@)|(?!\d+/)[^\s@]{1,160}(?=@)))?(?=:?@)"
)
#: ``?password=value`` and ``&password=value`` in a URL.
_URL_PARAMETER: Final = re.compile(r"""(?<=[?&#;])([\w.-]{1,100}+)=([^\s&#"'<>]+)""")
#: Names of signatures and codes, secrets only as parameters of a URL.
_IN_URL: Final = frozenset(
    ("sig", "signature", "x-amz-signature", "x-amz-credential", "x-goog-signature", "hmac", "key",
     "code", "x-goog-credential", "x-oss-signature", "sid", "assertion", "ticket")
)  # fmt: skip
#: A name of a user in a URL, as opposed to a key that stands in its place.
_USER: Final = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,19}\d{0,4}|%\w{2}|\{\w+\}|\$\w+")
_NETRC: Final = re.compile(
    r"""(\blogin[ \t\n]+\S+[ \t\n]+(?:account[ \t\n]+\S+[ \t\n]+)?password[ \t\n]+)(\S+)"""
)
_PGPASS: Final = re.compile(
    r"((?<!\S)(?:localhost|\*|[\w-]+(?:\.[\w-]+)+):(?:\d{2,5}|\*):[^:\s]*:(?:\*|[A-Za-z_][^:\s]*):)"
    r"(\S{4,})"
)


def hide_forms(text: str) -> str:
    """Return a text, of one line or many, in which everything of the form of a secret is hidden."""
    if "://" in text:
        text = without_url_passwords(text)
    if "-----BEGIN" in text:
        text = _PEM.sub(REDACTED, text)
    if "Private-Lines" in text:
        text = _PUTTY.sub(rf"\1 {REDACTED}", text)
    if "$" in text or "{S" in text:
        text = _CRYPT.sub(REDACTED, text)
    if may_name_a_secret(text):
        text = _SCHEME.sub(_scheme, text)
        if "password" in text:
            text = _NETRC.sub(rf"\1{REDACTED}", text)
    if text.count(":") > 3:
        text = _PGPASS.sub(rf"\1{REDACTED}", text)
    if _LONG.search(text) is None or (len(text) > _LONGEST_KEY and _BASE64.fullmatch(text)):
        return text
    return _KEY.sub(REDACTED, text)


def without_url_passwords(text: str) -> str:
    """Return a text in which the secrets of URLs are replaced.

    ``scheme://user:password@``, a key in the place of the user, and ``?password=``.
    """
    if "@" in text:
        text = _URL_PASSWORD.sub(_url_password, text)
    if "https://" in text:
        text = _HOOK.sub(rf"\1{REDACTED}", text)
    return _URL_PARAMETER.sub(_url_parameter, text) if "=" in text else text


def _url_password(match: re.Match[str]) -> str:
    scheme, user, password = match.groups()
    if user and not _USER.fullmatch(user) and REDACTED not in user:
        user = REDACTED
    return f"{scheme}{user}{f':{REDACTED}' if password else ''}"


def _url_parameter(match: re.Match[str]) -> str:
    name, value = match.groups()
    is_secret = certainty_of(name) != "no" or (name.lower() in _IN_URL and len(value) > 5)
    return f"{name}={REDACTED}" if is_secret else match[0]


def _scheme(match: re.Match[str]) -> str:
    scheme, gap, value = match.groups()
    if scheme.lower() == "basic":
        is_secret = _is_basic(value)
    elif scheme.lower() != "bearer" and len(value) < _LONG_VALUE:
        is_secret = False
    else:
        is_secret = any(sign.isdigit() for sign in value) and not value.isdigit()
    return f"{scheme}{gap}{REDACTED}" if is_secret else match[0]


def _is_basic(value: str) -> bool:
    """Return True for ``user:password`` in base64."""
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
