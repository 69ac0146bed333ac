"""Names of secrets.

A name is split into words at each sign that is not a letter or digit, and between a small and a
capital letter (``dbPassword``). Digits at the end of a word, and case, do not count. Whole words
are compared, never parts: ``KEYBOARD``, ``COMPASS_HEADING`` and ``bypass`` hold no word of a
secret. The lists are below:

- ``_WORDS`` make a name secret at any place, unless the name ends in a word of ``_ABOUT``, and so
  tells something about a secret (``token_count``, ``password_file``, ``TokenError``).
- ``_KEYS`` do so before ``key``; ``ssh_key`` is secret, ``primary_key`` is not.
- ``_PAIRS`` are two words that follow each other, such as ``connection string``.
- Short words with other meanings (``pass``, ``pin``, ``salt``) count at the end of a name only, and
  not behind the words that give them the other meaning (``band_pass``, ``sample_pin``). They are
  *weak*: a number of at most three digits with such a name is shown.

The lists are our own, because a detector such as detect-secrets looks for quotes and assignments
in source files, and needs further packages.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Final, Literal, TypeAlias

#: How sure a name is.
Certainty: TypeAlias = Literal["sure", "weak", "no"]

_SPLIT: Final = re.compile(r"[^0-9A-Za-z]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: A longer text is not a name.
_LONGEST: Final = 200


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORDS: Final = _set(
    "password passwords passwd passphrase passphrases passcode passcodes passwort pwd pwds"
    " secret secrets token tokens credential credentials cred creds auth authorization cookie"
    " cookies jwt jwts bearer apikey apikeys privkey webhook webhooks otp totp hotp netrc pgpass"
    " passwrd pswd"
    " kubeconfig htpasswd sessionid jsessionid phpsessid sessid connstr connectionstring userpwd"
)
#: Words that end so are secrets too: ``PGPASSWORD``.
_ENDINGS: Final = ("password", "passwd", "passphrase", "secret", "token", "apikey")
#: Behind a word of a secret: the name tells something about it.
_ABOUT: Final = _set(
    "count counts length len size sizes rate ttl timeout expiry expires expired expiration lifetime"
    " age error errors exception warning method methods type types kind policy enabled disabled"
    " required status mode file files path paths dir folder name names host port server endpoint"
    " provider backend scheme realm domain limit index ids sock hint prompt s ms per second seconds"
    " rule rules check checks failure failures version interval"
)
#: Names of a place; the place of a webhook is itself the secret.
_PLACES: Final = _set("url uri href addr address")
#: Before ``tokens``: how many there are.
_AMOUNTS: Final = _set("max min n num number total prompt completion input output per")
_KEYS: Final = _set(
    "api access private secret session signing encryption decryption enc auth fernet master storage"
    " account ssh deploy license licence service shared preshared subscription app application"
    " client server tls ssl gpg pgp rsa dsa ecdsa aes hmac jwt cipher crypt crypto webhook"
    " consumer admin root vault unseal recovery django flask openai anthropic azure aws gcp google"
    " maps sendgrid stripe mailgun twilio datadog dd algolia sentry heroku cloudflare hf wandb bot"
    " signature backup luks cosmos firebase"
    " ci git github gitlab registry docker npm pypi kms token password secure security symmetric"
    " wallet ingest instrumentation wpa wep wifi bearer cookie oauth priv pass elog scicat grafana"
)
_PAIRS: Final = _set(
    "connection_string connection_strings conn_string conn_str access_signature session_id"
    " session_cookie seed_phrase recovery_code recovery_codes backup_code backup_codes mfa_code"
    " verification_code access_code security_code login_code unlock_code auth_code pass_phrase"
    " pass_word pass_code sas_url sas_uri sas_sig sas_signature azure_sas storage_sas blob_sas"
    " op_session bw_session bitwarden_session snmp_community wallet_seed rsa_private"
    " container_sas account_sas id_rsa id_dsa id_ecdsa"
)
#: Weak words, each with the words behind which it means something else.
_WEAK: Final = {
    "pass": _set(
        "band low high all notch short long first second third fourth last next previous prev this"
        " each every per multi single two three one n num number max min by com test tests fit"
        " reduction calibration orbit satellite fly boarding mountain final current coarse fine"
        " forward backward scan no did must should can will to may total beam edge"
    ),
    "pw": _set("laser pulse plane beam n"),
    "pin": _set(
        "gpio sample bus output input trigger reset data clock led dowel mount loop io adc dac pwm"
        " cs interrupt irq push firing center centre guide ground power signal tx rx enable"
    ),
    "psk": _set("b q m d"),
    "dsn": _set("data dataset"),
}
#: Weak words that count only alone, or behind one of these.
_WEAK_BEHIND: Final = {
    "pat": _set(
        "github gh gitlab gl azure devops ext ado git bitbucket docker access personal my ci bot"
        " repo jira registry"
    ),
    "salt": _set(
        "auth nonce hash password pass secret secure in cookie session key app django user token"
    ),
    "vault": frozenset[str](),
}
#: Written together with the word before: ``SSHPASS``, ``ADMINPW``, ``MYSQLPWD``.
_FUSED: Final = re.compile(
    r"(?:db|pg|my|mysql|ssh|root|admin|user|usr|ldap|bind|smtp|imap|ftp|mail|sudo|wifi|proxy|http"
    r"|vnc|redis|rabbitmq|mqtt|mongo|login|elog|epics|tango)(?:pass|pw|pwd)"
)
#: Written exactly so, as in environments: a parameter ``pwd`` is a password.
_EXEMPT: Final = frozenset(("PWD", "OLDPWD", "SSH_AUTH_SOCK", "XAUTHORITY", "AUTH_METHOD"))
#: A text without any of these holds no name of a secret, and no scheme of a header.
_STEM: Final = re.compile(
    r"pass|p[wais]|secret|tok|key|cred|auth|cook|jwt|bear|webh|otp|netrc|kube|sess|conn|salt|dsn|snmp|seed|rsa"
    r"|vault|sas|code|phr|basic|nego|curl|mysql|id_|access"
)


def may_name_a_secret(text: str) -> bool:
    """Return False where a text holds no name of a secret; quick, and True in case of doubt."""
    return _STEM.search(text.lower()) is not None


@functools.lru_cache(maxsize=10_000)
def certainty_of(name: str) -> Certainty:
    """Return how sure it is that a value of this name is a secret."""
    if len(name) > _LONGEST or name in _EXEMPT:
        return "no"
    words = [word.lower().rstrip("0123456789") for word in _SPLIT.split(name)]
    words = [word for word in words if word]
    if not words:
        return "no"
    if _is_sure(words):
        return "sure"
    return "weak" if _is_weak(words) else "no"


def _is_sure(words: list[str]) -> bool:
    if words[-1] in ("tokens", "token") and len(words) > 1 and words[-2] in _AMOUNTS:
        return False
    if words[-1] in _ABOUT or (words[-1] in _PLACES and not {"webhook", "sas"} & set(words)):
        return False
    pairs = list(itertools.pairwise(words))
    return (
        any(word in _WORDS or word.endswith(_ENDINGS) or _is_fused(word) for word in words)
        or any(first in _KEYS and second in ("key", "keys") for first, second in pairs)
        or any(f"{first}_{second}" in _PAIRS for first, second in pairs)
    )


def _is_fused(word: str) -> bool:
    if word.endswith("key") and word[:-3] in _KEYS:
        return True
    return _FUSED.fullmatch(word) is not None


def _is_weak(words: list[str]) -> bool:
    before, last = ["", *words][-2:]
    if last in _WEAK:
        return before not in _WEAK[last]
    return last in _WEAK_BEHIND and (not before or before in _WEAK_BEHIND[last])
