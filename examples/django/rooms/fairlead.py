"""What this site knows of Fairlead: where pages reach it, and how to ask it for tickets."""

import json
import re
import urllib.request

from django.conf import settings


def url(request):
    """Where the page that is asked for finds Fairlead.

    Unless FAIRLEAD_URL says otherwise that is port 8000 of the host that the page comes from: a page has the cookies of its
    host, whatever the port, and localhost and 127.0.0.1 are two hosts.
    """
    host = re.sub(r":\d+$", "", request.get_host())
    return settings.FAIRLEAD_URL or f"{'wss' if request.is_secure() else 'ws'}://{host}:8000"


def ticket(user, route, origin):
    """Returns a ticket: it is good for one connection, of this user, on this route, from pages of this origin.

    Raises OSError where Fairlead does not answer, or answers with an error.
    """
    question = urllib.request.Request(
        f"{settings.FAIRLEAD_API}/api/v1/tickets",
        data=json.dumps({"subject": str(user.pk), "name": user.get_username(), "route": route, "origin": origin}).encode(),
        headers={"Content-Type": "application/json"},
    )
    if settings.FAIRLEAD_API_KEY:
        question.add_header("Authorization", f"Bearer {settings.FAIRLEAD_API_KEY}")
    with urllib.request.urlopen(question, timeout=5) as answer:
        return json.load(answer)["ticket"]
