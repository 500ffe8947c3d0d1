"""Uploads that any instance can continue: an ASGI library over shared storage. Exported here is its public face.

Refuses to know anything of chains and rollouts: it is for every ASGI application.
"""

from changeover.uploads.core.completed import Finished
from changeover.uploads.core.engine import New
from changeover.uploads.core.errors import Forbidden, Refused
from changeover.uploads.core.events import Event
from changeover.uploads.core.limits import Limits
from changeover.uploads.core.manifest import Answer
from changeover.uploads.server.asgi import Uploads
from changeover.uploads.stores.files import FileStore

__all__ = ["Answer", "Event", "FileStore", "Finished", "Forbidden", "Limits", "New", "Refused", "Uploads"]
