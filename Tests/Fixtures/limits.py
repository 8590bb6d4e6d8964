"""Names in GatewayParameters that tests set, in one place (`ai-gateway check` prints the effective values)."""


def short(**milliseconds):
    """`timeouts` of GatewayParameters from milliseconds: short(firstByte=300) -> {"firstByte": "300ms"}."""
    return {name: f"{value}ms" for name, value in milliseconds.items()}
