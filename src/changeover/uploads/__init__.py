"""Uploads that any instance can continue: an ASGI library over shared storage. Exported here is its public face.

Refuses to know anything of chains and rollouts: it is for every ASGI application.
"""

from changeover.uploads.app import Uploads
from changeover.uploads.engine import New
from changeover.uploads.errors import Forbidden, Refused
from changeover.uploads.events import Event
from changeover.uploads.finished import Finished
from changeover.uploads.limits import Limits
from changeover.uploads.manifest import Answer
from changeover.uploads.stores.files import FileStore

__all__ = ["Answer", "Event", "FileStore", "Finished", "Forbidden", "Limits", "New", "Refused", "Uploads"]
