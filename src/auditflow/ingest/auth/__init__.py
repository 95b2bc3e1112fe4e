"""Who calls: API keys, tokens of an identity provider, and headers of a trusted gateway become a `Principal`.

``authenticator`` asks the others in turn and counts what it refuses; ``settings`` is the section `auth` of the
configuration. What has been seen before costs microseconds and no I/O.
"""

from auditflow.ingest.auth.authenticator import Authenticator, authenticator_of
from auditflow.ingest.auth.principal import ANYONE, Principal
from auditflow.ingest.auth.settings import AuthConfig

__all__ = ["ANYONE", "AuthConfig", "Authenticator", "Principal", "authenticator_of"]
