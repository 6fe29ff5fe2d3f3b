"""The peer of the comparison: Django Channels deciding the same handshakes from the same database.

It is written as a site that wants speed would be: connections to the database are kept, the channel layer is in memory,
nothing is logged. FAIRLEAD_BENCH_DATABASE is host:port of PostgreSQL, FAIRLEAD_BENCH_SECRET is SECRET_KEY.
"""

import os

import django
from django.conf import settings

host, port = os.environ["FAIRLEAD_BENCH_DATABASE"].rsplit(":", 1)
settings.configure(
    SECRET_KEY=os.environ["FAIRLEAD_BENCH_SECRET"],
    ALLOWED_HOSTS=["127.0.0.1"],
    USE_TZ=True,
    LOGGING_CONFIG=None,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "rest_framework",
        "rest_framework.authtoken",
        "channels",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "django",
            "HOST": host,
            "PORT": port,
            "CONN_MAX_AGE": None,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    SESSION_COOKIE_NAME="token",
)
django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.db import database_sync_to_async  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.middleware import BaseMiddleware  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import re_path  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402


@database_sync_to_async
def user_of(key):
    """The user of a token, who must be active, or None."""
    try:
        token = Token.objects.select_related("user").get(key=key)
    except Token.DoesNotExist:
        return None
    return token.user if token.user.is_active else None


class TokenAuth(BaseMiddleware):
    """Authorization: Bearer KEY, stacked on the session as token middlewares are."""

    async def __call__(self, scope, receive, send):
        header = dict(scope["headers"]).get(b"authorization", b"").decode().split()
        if len(header) == 2 and header[0] == "Bearer":
            scope["user"] = await user_of(header[1])
        return await super().__call__(scope, receive, send)


class Group(AsyncWebsocketConsumer):
    """Whoever is somebody joins the group of the path."""

    async def connect(self):
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close()
            return
        self.group = self.scope["url_route"]["kwargs"]["group"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        if hasattr(self, "group"):
            await self.channel_layer.group_discard(self.group, self.channel_name)


application = ProtocolTypeRouter(
    {
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(TokenAuth(URLRouter([re_path(r"^auth/(?P<group>\w+)$", Group.as_asgi())])))
        ),
    }
)
