"""Redaction: which parts of an event are masked, hashed or dropped before anything is stored.

Rules act in order, each on what the one before has left. A rule with a field alone acts on the whole value; a
detector acts on the parts of texts that it finds, and on whole numbers and names of members. A field that is
absent or null is left alone. A dropped list item becomes null, so that the others keep their index.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from auditflow.event.paths import Every, Step, parse_pattern
from auditflow.ingest.redaction.detectors import DETECTORS, DetectorName
from auditflow.ingest.redaction.redactor import Redactor
from auditflow.ingest.redaction.rule import NEVER_TOUCHED, REQUIRED, Rule, keyed_hash
from auditflow.settings import Settings, misfit

Action = Literal["mask", "hash", "drop"]

SHORTEST_KEY: Final = 16
_KEY_HINT: Final = "make one with: openssl rand -base64 32"
_OTHERWISE_INVALID: Final[frozenset[tuple[Step, ...]]] = frozenset(
    {
        ("eventTime",),
        ("extra",),
        ("geolocation",),
        ("geolocation", Every.MEMBER),
        ("geolocation", "lat"),
        ("geolocation", "lon"),
        ("geolocation", "countryCode"),
    }
)
"""Fields that must be a time, an object, a number or two letters, which a mask or a hash is not."""


class RedactionRule(Settings):
    """What becomes of one field, or of everything that looks like personal or secret data."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] | None = None
    """Name of the rule in manifests and explanations; without one, its field and detector."""
    field: str | None = None
    """Path of the field, e.g. `extra.items[0].card`; `extra.*.email`, `items[*].card` and `extra.**.password` stand for several."""
    detector: DetectorName | None = None
    """What to look for in texts: everywhere, or with `field` only there and below."""
    action: Action = "mask"
    """`mask` and `hash` replace the value, or what the detector finds; `drop` removes the whole value."""
    strategy: Action | None = None
    """Another name of `action`."""

    @field_validator("field")
    @classmethod
    def _path(cls, field: str | None) -> str | None:
        if field is not None and parse_pattern(field)[0] in NEVER_TOUCHED:
            hint = "an event needs it as it is: eventId, tenantId and timestamp are never redacted"
            raise misfit(f"{field} cannot be redacted", hint)
        return field

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.strategy and "action" in self.model_fields_set:
            raise misfit("strategy is another name of action: both are given", "keep one of the two")
        if self.field is None:
            if self.detector is None:
                raise misfit("names neither a field nor a detector", "add one of the two, or both")
        elif self.does == "drop" and parse_pattern(self.field)[0] in REQUIRED:
            raise misfit(f"{self.field} cannot be dropped: every event has it", "mask or hash it")
        elif self.does != "drop" and self._leaves_no_event(parse_pattern(self.field)):
            reason = f"{self.field} can only be dropped: no text may stand there"
            raise misfit(reason, "write action: drop, or name the fields below it")
        return self

    def _leaves_no_event(self, steps: tuple[Step, ...]) -> bool:
        if self.detector:  # finds texts, so what is no text is safe from it
            return steps == ("eventTime",)
        return steps in _OTHERWISE_INVALID

    @property
    def does(self) -> Action:
        """The action, by whichever name it was given."""
        return self.strategy or self.action

    @property
    def name(self) -> str:
        """The id, or else what the rule is about."""
        return self.id or ":".join(part for part in (self.field, self.detector) if part)


class RedactionConfig(Settings):
    """What is masked, hashed or dropped in every event before it is stored."""

    enabled: bool = True
    """Whether the rules apply."""
    mask: Annotated[str, Field(pattern=r'^[^"\\\x00-\x1f\x7f-\x9f]{1,64}$')] = "***"
    """What `mask` puts in place of a value: 1 to 64 characters, no quotes, no backslashes."""
    key: SecretStr | None = None
    """Key of `hash`, HMAC-SHA256: equal values stay equal and cannot be guessed. At least 16 characters."""
    manifest: bool = False
    """Whether an event lists in its field `redaction` the ids of the rules that changed it."""
    rules: tuple[RedactionRule, ...] = ()
    """What to redact, in this order."""

    @field_validator("mask")
    @classmethod
    def _inconspicuous(cls, mask: str) -> str:
        for name, detector in DETECTORS.items():
            if any(detector.find(mask)):
                raise misfit(f"the detector {name} would find the mask itself", "choose another, such as ***")
        return mask

    @field_validator("key")
    @classmethod
    def _cannot_be_guessed(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < SHORTEST_KEY:
            raise misfit(f"expected at least {SHORTEST_KEY} characters", _KEY_HINT)
        return key

    @field_validator("rules")
    @classmethod
    def _key_to_hash_with(
        cls, rules: tuple[RedactionRule, ...], info: ValidationInfo
    ) -> tuple[RedactionRule, ...]:
        if "key" in info.data and info.data["key"] is None and any(rule.does == "hash" for rule in rules):
            raise misfit(
                "a rule hashes, but there is no key", f'add key: "${{AUDITFLOW_REDACTION_KEY}}"; {_KEY_HINT}'
            )
        return rules


def compile_redaction(*configs: RedactionConfig) -> Redactor | None:
    """Join the rules of several configurations, each with its own key and mask; None when there are none."""
    rules = [_compiled(rule, config) for config in configs if config.enabled for rule in config.rules]
    return Redactor(rules) if rules else None


def _compiled(rule: RedactionRule, config: RedactionConfig) -> Rule:
    key = config.key.get_secret_value().encode() if config.key else b""
    mask = config.mask.encode()
    return Rule(
        id=rule.name,
        action=rule.does,
        steps=parse_pattern(rule.field) if rule.field else (),
        detector=DETECTORS[rule.detector] if rule.detector else None,
        stand_in=keyed_hash(key) if rule.does == "hash" else lambda _: mask,
        listed=config.manifest,
    )
