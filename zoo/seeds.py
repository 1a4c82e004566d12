"""Seeds for places in a run, so that what is drawn there depends on nothing that happened before."""

import hashlib


def seed_of(*position: int | str) -> int:
    """Seed for one place in a run, such as (seed, epoch, row), unrelated to those of all other places."""
    digest = hashlib.blake2b(repr(position).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
