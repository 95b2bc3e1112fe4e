"""What a command shows a server, and what it asks of it: key or token, certificates."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditflow.errors import AccessUnusable

if TYPE_CHECKING:
    import ssl


@dataclass(slots=True)
class Access:
    """What the options before the command say; never a secret itself, which other users could see in the command line."""

    token_file: Path | None = None
    ca: Path | None = None
    client_certificate: Path | None = None

    def headers(self) -> dict[str, str]:
        """Give the headers that show who calls. Raises AccessUnusable."""
        place = f"the file {self.token_file}" if self.token_file else "the variable AUDITFLOW_TOKEN"
        try:
            text = self.token_file.read_text() if self.token_file else os.environ.get("AUDITFLOW_TOKEN", "")
        except (OSError, UnicodeError) as error:
            raise AccessUnusable(what=place, reason=getattr(error, "strerror", None) or "no text") from None
        token = text.strip()
        if not token.isascii() or any(letter <= " " for letter in token):
            raise AccessUnusable(what=place, reason="it is to hold one key or token and nothing else")
        return {"Authorization": f"Bearer {token}"} if token else {}

    def verify(self) -> "ssl.SSLContext | bool":
        """Give how a server's certificate is checked, and ours shown, as httpx2 takes it. Raises AccessUnusable."""
        if self.ca is None and self.client_certificate is None:
            return True
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise _unusable(self.ca, error) from None
        if self.client_certificate:
            try:
                context.load_cert_chain(self.client_certificate, password=lambda: "")
            except OSError as error:
                raise _unusable(self.client_certificate, error) from None
        return context


def _unusable(path: Path | None, error: OSError) -> AccessUnusable:
    reason = getattr(error, "reason", None) or error.strerror or "no certificate in PEM"
    return AccessUnusable(what=f"the file {path}", reason=reason)


ACCESS: Final = Access()
"""What this run of the command line was given."""
