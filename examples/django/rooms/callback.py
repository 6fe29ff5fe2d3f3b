"""What Fairlead asks this site, when it has a verifier or an authorizer of kind callback.

The questions come with the header fields of the handshake that `forward` lists, so that the middlewares and authentication
classes of the site work on them as on any request.
"""

import hashlib
import hmac
import time
from functools import wraps

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from .models import Room


def from_fairlead(*needed):
    """Answers 403 to a question that Fairlead did not sign, or signed over a minute ago.

    The signature is the HMAC-SHA256 of lines: the version, the time, the method, the path, and name and value of each
    field that Fairlead-Signed lists. A view names those on which it relies.
    """

    def decorate(view):
        @wraps(view)
        def checked(request):
            names = request.headers.get("Fairlead-Signed", "").split(";")
            stamp = request.headers.get("Fairlead-Timestamp", "")
            lines = ["fairlead-v1", stamp, request.method, request.get_full_path()]
            lines += [f"{name}:{request.headers.get(name, '')}" for name in names]
            key, text = settings.FAIRLEAD_CALLBACK_SECRET.encode(), "\n".join(lines).encode("latin-1")
            signature = "v1=" + hmac.new(key, text, hashlib.sha256).hexdigest()
            good = hmac.compare_digest(signature.encode(), request.headers.get("Fairlead-Signature", "").encode())
            fresh = good and abs(time.time() - int(stamp)) < 60
            if not fresh or not set(needed) <= set(names):
                return HttpResponse("This is not a question of Fairlead.", status=403)
            return view(request)

        return checked

    return decorate


@from_fairlead("authorization", "cookie")
def who(request):
    """Who is it? 204 where nothing was sent that this site knows."""
    user = request.user  # of the session
    try:
        found = TokenAuthentication().authenticate(request)
    except AuthenticationFailed:
        return HttpResponse(status=401)
    if found:
        user = found[0]
    if not user.is_authenticated:
        return HttpResponse(status=204)
    return JsonResponse({"subject": str(user.pk), "name": user.get_username()})


@from_fairlead("fairlead-subject", "fairlead-group")
def may_join(request):
    """May Fairlead-Subject join Fairlead-Group?"""
    group = request.headers.get("Fairlead-Group", "")
    subject = request.headers.get("Fairlead-Subject", "")
    room = group[len("room_") :]
    numbers = all(text.isascii() and text.isdigit() and len(text) < 19 for text in (room, subject))  # what a BigAutoField holds
    allowed = (
        numbers
        and group == f"room_{int(room)}"
        and Room.objects.filter(pk=room, members__pk=subject, members__is_active=True).exists()
    )
    return HttpResponse(status=204 if allowed else 403)
