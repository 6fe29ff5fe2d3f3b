"""JWTs in a cookie, for the views of this site and for Fairlead alike."""

import time

import jwt
from django.conf import settings
from django.contrib.auth import get_user_model
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

COOKIE = "JWT"
LIFETIME = 300  # seconds


def issue(user):
    claims = {"user_id": user.pk, "username": user.get_username(), "exp": int(time.time()) + LIFETIME}
    return jwt.encode(claims, settings.SECRET_KEY, algorithm="HS256")


class JWTCookieAuthentication(BaseAuthentication):
    def authenticate(self, request):
        token = request.COOKIES.get(COOKIE)
        if not token:
            return None
        try:
            claims = jwt.decode(token, settings.SECRET_KEY, algorithms=["HS256"], options={"require": ["exp"]})
            user = get_user_model().objects.get(pk=claims["user_id"], is_active=True)
        except (jwt.InvalidTokenError, KeyError, ValueError, get_user_model().DoesNotExist):
            raise AuthenticationFailed("This JWT is no good.")
        return user, claims

    def authenticate_header(self, request):
        return COOKIE
