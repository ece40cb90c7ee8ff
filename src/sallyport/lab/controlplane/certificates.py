"""Keys and certificates of a lab, made by openssl(1): every Debian has it, and no Python package of ours does.

Keys are ECDSA P-256; certificates hold for a year, which no lab lives. Extensions as of RFC 5280.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sallyport.drivers.command import DriverError, run

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
_DAYS = ("-days", "365")
_AUTHORITY = """[req]
distinguished_name = name
[name]
[own]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
_LEAF = """[req]
distinguished_name = name
[name]
[own]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = {usage}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{names}
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    def texts(self) -> tuple[str, str]:
        """Certificate and key."""
        return self.certificate.read_text(), self.key.read_text()


class Authority:
    """A certificate authority in a directory. Every method raises DriverError when openssl does not do it."""

    def __init__(self, directory: Path, name: str) -> None:
        """Make a new one."""
        self._directory = directory
        self.pair = self._pair("ca")
        self._request(self.pair, f"/CN={name}", _AUTHORITY)

    def server(self, name: str, alternatives: Sequence[str]) -> Pair:
        """For a server; `alternatives` are the names that it is called by, as `DNS:name` or `IP:address`."""
        names = f"subjectAltName = {', '.join(alternatives)}"
        return self._issue(name, f"/CN={name}", _LEAF.format(usage="serverAuth", names=names))

    def client(self, user: str, group: str = "") -> Pair:
        """For a user of the API: his name is the CN, his group the O (Kubernetes: X509 client certificates)."""
        subject = f"/O={group}/CN={user}" if group else f"/CN={user}"
        return self._issue(user.rpartition(":")[2], subject, _LEAF.format(usage="clientAuth", names=""))

    def signing_pair(self, name: str) -> tuple[Path, Path]:
        """A private key and its public key, without a certificate."""
        private, public = self._directory / f"{name}.key", self._directory / f"{name}.pub"
        _openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(private)])
        private.chmod(0o600)
        _openssl(["pkey", "-in", str(private), "-pubout", "-out", str(public)])
        return private, public

    def _pair(self, name: str) -> Pair:
        return Pair(self._directory / f"{name}.crt", self._directory / f"{name}.key")

    def _issue(self, name: str, subject: str, configuration: str) -> Pair:
        pair = self._pair(name)
        self._request(pair, subject, configuration, "-CA", str(self.pair.certificate), "-CAkey", str(self.pair.key))
        return pair

    @staticmethod
    def _request(pair: Pair, subject: str, configuration: str, *signer: str) -> None:
        files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
        settings = ["-config", "/dev/stdin", "-extensions", "own", "-subj", subject]
        _openssl(["req", "-x509", *_KEY, *_DAYS, *files, *settings, *signer], configuration)
        pair.key.chmod(0o600)


def _openssl(arguments: Sequence[str], text: str = "") -> None:
    done = run(["openssl", *arguments], text)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DriverError(f"openssl {arguments[0]}: {last}; 3.0 or later is needed")
