"""Mints authorities and certificates in memory (with the `cryptography` package)."""
import base64
import datetime
import ipaddress
import os
import ssl
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def _names(names):
    out = []
    for name in names:
        if "://" in name:
            out.append(x509.UniformResourceIdentifier(name))
            continue
        try:
            out.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            out.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(out)


class Certificate:
    """A certificate with its key; `issuer=None` signs itself. `authority` makes it a CA."""

    def __init__(self, names=(), issuer=None, authority=False, key="rsa", days=365, common_name=None, client=False,
                 start=None):
        self.key = ec.generate_private_key(ec.SECP256R1()) if key == "ecdsa" else rsa.generate_private_key(65537, {"weak": 1024, "large": 4096}.get(key, 2048))
        names = list(names)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (common_name or (names or ["test"])[0])[:64])])
        now = start or datetime.datetime.now(datetime.timezone.utc)
        builder = (x509.CertificateBuilder().subject_name(subject)
                   .issuer_name(issuer.certificate.subject if issuer else subject)
                   .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(hours=1))
                   .not_valid_after(now + datetime.timedelta(days=days))
                   .add_extension(x509.BasicConstraints(ca=authority or issuer is None, path_length=None), critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False))
        if names:
            builder = builder.add_extension(_names(names), critical=False)
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH] if client else [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        if not authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        self.certificate = builder.sign((issuer or self).key, hashes.SHA256())

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self):
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption())

    @property
    def serial(self):
        return self.certificate.serial_number

    def secret(self, name, namespace="default"):
        """The Secret of type kubernetes.io/tls as a cluster holds it."""
        return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": {"name": name, "namespace": namespace},
                "data": {"tls.crt": base64.b64encode(self.pem).decode(),
                         "tls.key": base64.b64encode(self.key_pem).decode()}}

    def config_map(self, name, namespace="default"):
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
                "data": {"ca.crt": self.pem.decode()}}

    def write(self, folder, name):
        """Writes NAME.crt and NAME.key; returns their paths."""
        paths = os.path.join(folder, name + ".crt"), os.path.join(folder, name + ".key")
        for path, data in zip(paths, (self.pem, self.key_pem)):
            with open(path, "wb") as file:
                file.write(data)
        return paths

    def server_context(self, client_ca=None):
        """An ssl.SSLContext that serves this certificate (client certificates verified if given)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            context.load_cert_chain(*self.write(folder, "server"))
        if client_ca:
            context.load_verify_locations(cadata=client_ca.decode() if isinstance(client_ca, bytes) else client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context
