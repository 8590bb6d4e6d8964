"""The WebSocket message that clients.py sends, and what origin.py sends back."""
BYTES = 100
# A mask of noughts leaves the content as it is.
ASKED = bytes((0x82, 0x80 | BYTES, 0, 0, 0, 0)) + b"m" * BYTES
REPLY = bytes((0x82, BYTES)) + b"m" * BYTES
# So long takes an answer where the load asks for it by this field, as a model would: clients.py tells what came on top.
WAIT_FIELD, WAIT_SECONDS = "X-Wait", 1.5
