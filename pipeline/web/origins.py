"""Whose pages may use a service from a browser (CORS, as WHATWG Fetch has it)."""


def origins_of(setting: str) -> frozenset[str]:
    """Read a setting: origins with commas between them, or `*`."""
    return frozenset(filter(None, (each.strip() for each in setting.split(","))))
