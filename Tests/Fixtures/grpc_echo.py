"""The messages of the conformance suite's GrpcEcho service, by hand: they are few and small.

EchoResponse {1 assertions {1 fully_qualified_method, 2 repeated headers {1 key, 2 value}, 3 authority,
4 context {1 namespace, 2 ingress, 3 service_name, 4 pod}}}.
"""
SERVICE = "gateway_api_conformance.echo_basic.grpcecho.GrpcEcho"


def _varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, data):
    """A length-delimited field; text or bytes."""
    data = data.encode() if isinstance(data, str) else data
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def fields(data):
    """{number: [bytes]} of a message that has length-delimited fields only."""
    out, at = {}, 0

    def varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
    while at < len(data):
        tag = varint()
        if tag & 7 != 2:
            raise ValueError(f"wire type {tag & 7}")
        size = varint()
        out.setdefault(tag >> 3, []).append(data[at:at + size])
        at += size
    return out


def response(method, metadata, namespace, ingress, service, pod):
    headers = b"".join(field(2, field(1, name) + field(2, value)) for name, value in metadata)
    context = field(1, namespace) + field(2, ingress) + field(3, service) + field(4, pod)
    return field(1, field(1, method) + headers + field(4, context))


def read(data):
    """{method, namespace, pod, headers} of an EchoResponse."""
    assertions = fields(fields(data)[1][0])
    context = fields(assertions[4][0])
    headers = [fields(h) for h in assertions.get(2, [])]
    text = lambda m, n: m.get(n, [b""])[0].decode()
    return {"method": text(assertions, 1), "namespace": text(context, 1), "pod": text(context, 4),
            "headers": [(text(h, 1), text(h, 2)) for h in headers]}
