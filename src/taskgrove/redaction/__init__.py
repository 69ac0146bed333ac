"""Keeping secrets out of environments, command lines, plain data and texts."""

from taskgrove.redaction.forms import REDACTED as REDACTED
from taskgrove.redaction.forms import without_url_passwords as without_url_passwords
from taskgrove.redaction.rule import REDACT_VARIABLE as REDACT_VARIABLE
from taskgrove.redaction.rule import Redaction as Redaction
from taskgrove.redaction.rule import holds_redacted as holds_redacted
