"""Settings of the example. What differs from place to place comes from the environment, with defaults for trying it out.

They are for Django 3.2 to 5.x. What Fairlead needs to know of them is in ../fairlead.toml.
"""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent

# Fairlead verifies sessions and JWTs with this key: [[verifier]] secret.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "for-trying-out-only-0123456789abcdefghijklmnopqrstuvwxyz")
# Django 4.1 and later; `secret_fallbacks` of Fairlead.
SECRET_KEY_FALLBACKS = os.environ.get("DJANGO_SECRET_KEY_FALLBACKS", "").split()

DEBUG = os.environ.get("DJANGO_DEBUG", "") == "1"
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "localhost 127.0.0.1").split()

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rest_framework",
    "rest_framework.authtoken",
    "rooms",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "rooms.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]


def database(url):
    """The database of a URL as Fairlead's `dsn` has it: sqlite:PATH, postgres://… or mysql://…"""
    if url.startswith("sqlite:"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": url[len("sqlite:") :]}
    parts = urlsplit(url)
    return {
        "ENGINE": {"postgres": "django.db.backends.postgresql", "mysql": "django.db.backends.mysql"}[parts.scheme],
        "NAME": parts.path[1:],
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname,
        "PORT": parts.port or "",
    }


DATABASES = {"default": database(os.environ.get("DATABASE_URL", f"sqlite:{BASE_DIR / 'db.sqlite3'}"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SESSION_ENGINE = os.environ.get("DJANGO_SESSION_ENGINE", "django.contrib.sessions.backends.db")

# PBKDF2 is slow on purpose; tests that log in often choose a faster hasher.
if os.environ.get("DJANGO_FAST_PASSWORDS") == "1":
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rooms.authentication.JWTCookieAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}

ROOT_URLCONF = "harbour.urls"
WSGI_APPLICATION = "harbour.wsgi.application"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
USE_TZ = True
TIME_ZONE = "UTC"

# Where browsers reach Fairlead, see rooms/fairlead.py, and where this site does.
FAIRLEAD_URL = os.environ.get("FAIRLEAD_URL", "")
FAIRLEAD_API = os.environ.get("FAIRLEAD_API", "http://127.0.0.1:9000")
FAIRLEAD_API_KEY = os.environ.get("FAIRLEAD_API_KEY", "")
# Signs what Fairlead asks the views of rooms/callback.py: `secret` of the callback verifier and authorizer.
FAIRLEAD_CALLBACK_SECRET = os.environ.get("FAIRLEAD_CALLBACK_SECRET", "for-trying-out-only-fairlead-callback")
