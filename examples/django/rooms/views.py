"""The pages, and an endpoint for each kind of credential with which a page can connect to Fairlead."""

import json
import time
import urllib.error
import urllib.request

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST
from rest_framework.response import Response
from rest_framework.views import APIView

from . import authentication


def index(request):
    rooms = request.user.rooms.order_by("pk") if request.user.is_authenticated else []
    return render(request, "rooms/index.html", {"rooms": rooms})


@login_required
def room(request, room_id):
    room = get_object_or_404(request.user.rooms, pk=room_id)
    return render(request, "rooms/room.html", {"room": room, "fairlead": settings.FAIRLEAD_URL})


class WhoAmI(APIView):
    """Who Django takes the request for: by a token, a JWT, or else the session. 401 for nobody."""

    def get(self, request):
        return Response({"subject": str(request.user.pk), "name": request.user.get_username()})


@require_POST
@login_required
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


@require_POST
@login_required
def ticket(request):
    """Asks Fairlead for a ticket: it is good for one connection, of this user, on this route, from this page."""
    question = urllib.request.Request(
        f"{settings.FAIRLEAD_API}/api/v1/tickets",
        data=json.dumps(
            {
                "subject": str(request.user.pk),
                "name": request.user.get_username(),
                "route": "/by-ticket/{group}",
                "origin": f"{request.scheme}://{request.get_host()}",
            }
        ).encode(),
        headers={"Content-Type": "application/json"},
    )
    if settings.FAIRLEAD_API_KEY:
        question.add_header("Authorization", f"Bearer {settings.FAIRLEAD_API_KEY}")
    try:
        with urllib.request.urlopen(question, timeout=5) as answer:
            return JsonResponse({"ticket": json.load(answer)["ticket"]})
    except urllib.error.URLError:
        return JsonResponse({"error": "Fairlead does not answer; try again"}, status=503)


@require_POST
@login_required
def grant(request):
    """Signs that this user may join the room for a minute: then Fairlead needs no query for the permission."""
    room = get_object_or_404(request.user.rooms, pk=request.POST.get("room"))
    value = {"group": room.group, "subject": str(request.user.pk), "exp": int(time.time()) + 60}
    return JsonResponse({"grant": signing.dumps(value, salt="fairlead")})
