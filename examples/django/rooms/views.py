"""The pages, and an endpoint for each kind of credential with which a page can connect to Fairlead."""

import http.client
import logging
import time
from functools import wraps

from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST
from rest_framework.response import Response
from rest_framework.views import APIView

from . import authentication, fairlead

logger = logging.getLogger(__name__)


def index(request):
    rooms = request.user.rooms.order_by("pk") if request.user.is_authenticated else []
    return render(request, "rooms/index.html", {"rooms": rooms})


@login_required
def room(request, room_id):
    room = get_object_or_404(request.user.rooms, pk=room_id)
    return render(request, "rooms/room.html", {"room": room, "fairlead": fairlead.url(request)})


class LogoutView(auth.LogoutView):
    """Logs out, and takes the JWT back too: the browser would have it, and could connect with it, until it expires."""

    def dispatch(self, request, *args, **kwargs):
        response = super().dispatch(request, *args, **kwargs)
        response.delete_cookie(authentication.COOKIE, samesite="Lax")
        return response


class WhoAmI(APIView):
    """Who Django takes the request for: by a token, a JWT, or else the session. 401 for nobody."""

    def get(self, request):
        return Response({"subject": str(request.user.pk), "name": request.user.get_username()})


def for_scripts(view):
    """Answers 401 where nobody is logged in: a script has no use for the page for logging in, to which login_required leads."""

    @wraps(view)
    def checked(request, *args, **kwargs):
        if not request.user.is_authenticated:
            return JsonResponse({"error": "Log in first."}, status=401)
        return view(request, *args, **kwargs)

    return require_POST(checked)


@for_scripts
def jwt_cookie(request):
    """Sets the cookie JWT, which Fairlead verifies with SECRET_KEY."""
    response = HttpResponse(status=204)
    response.set_cookie(
        authentication.COOKIE,
        authentication.issue(request.user),
        max_age=authentication.LIFETIME,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure(),
    )
    return response


@for_scripts
def ticket(request):
    """Asks Fairlead for a ticket for this user and this page."""
    try:
        text = fairlead.ticket(request.user, "/by-ticket/{group}", f"{request.scheme}://{request.get_host()}")
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        logger.error("no ticket of Fairlead: %s", error)
        return JsonResponse({"error": "There is no ticket now; try again."}, status=503)
    return JsonResponse({"ticket": text})


@for_scripts
def grant(request, room_id):
    """Signs that this user may join the room for a minute: then Fairlead needs no query for the permission."""
    room = get_object_or_404(request.user.rooms, pk=room_id)
    value = {"group": room.group, "subject": str(request.user.pk), "exp": int(time.time()) + 60}
    return JsonResponse({"grant": signing.dumps(value, salt="fairlead")})
