"""Who is in a picture or a film: faces, tracks of one face through a film, and the names that people give them."""

from __future__ import annotations

# Where a library keeps who is in its videos, and the keys without which that cannot be read. They stay on the machine.
PEOPLE_FILE = "people.sqlite"
KEYS_FILE = "people-keys.sqlite"
