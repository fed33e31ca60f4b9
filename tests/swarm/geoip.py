"""A small MaxMind database (format 2) that gives places to private addresses."""

import ipaddress
import struct


def database(places):
    """The bytes of a database: network (text) -> (country, city, lat, lon). Networks must not overlap."""
    tree = [[None, None]]
    data = b""
    for network, (country, city, lat, lon) in places.items():
        network = ipaddress.ip_network(network)
        bits, length = int(network.network_address), network.prefixlen
        if network.version == 4:
            length += 96
        node = 0
        for depth in range(length):
            side = bits >> (127 - depth) & 1
            if depth + 1 == length:
                tree[node][side] = ("data", len(data))
            elif tree[node][side] is None:
                tree.append([None, None])
                tree[node][side] = ("node", len(tree) - 1)
                node = len(tree) - 1
            else:
                node = tree[node][side][1]
        data += encode({
            "country": {"iso_code": country},
            "city": {"names": {"en": city}},
            "location": {"latitude": lat, "longitude": lon},
        })
    file = b""
    for slot in (slot for pair in tree for slot in pair):
        if slot is None:
            record = len(tree)
        elif slot[0] == "node":
            record = slot[1]
        else:
            record = len(tree) + 16 + slot[1]
        file += record.to_bytes(3, "big")
    metadata = {
        "binary_format_major_version": U16(2),
        "binary_format_minor_version": U16(0),
        "build_epoch": U64(1),
        "database_type": "closeby-test-City",
        "description": {"en": "a test"},
        "ip_version": U16(6),
        "languages": ["en"],
        "node_count": U32(len(tree)),
        "record_size": U16(24),
    }
    return file + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encode(metadata)


class U16(int):
    """An unsigned number of type 5."""

    kind = 5


class U32(int):
    """An unsigned number of type 6."""

    kind = 6


class U64(int):
    """An unsigned number of type 9."""

    kind = 9


def encode(value):
    """A value with its control bytes."""
    if isinstance(value, dict):
        return head(7, len(value)) + b"".join(encode(key) + encode(item) for key, item in value.items())
    if isinstance(value, list):
        return head(11, len(value)) + b"".join(encode(item) for item in value)
    if isinstance(value, str):
        return head(2, len(value.encode())) + value.encode()
    if isinstance(value, float):
        return head(3, 8) + struct.pack(">d", value)
    number = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return head(value.kind, len(number)) + number


def head(kind, size):
    """Type and size; sizes of 285 and more do not occur here."""
    short, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    if kind < 8:
        return bytes([kind << 5 | short]) + more
    return bytes([short, kind - 7]) + more
