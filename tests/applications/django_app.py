"""An application with Django's database sessions: django_app.py SETTINGS, which are JSON. Says its port."""

import json
import os
import random
import sys
import time
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings as conf
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

settings = json.loads(sys.argv[1])
ZONE = "Europe/Berlin"
# A settings module does this by itself.
os.environ["TZ"] = ZONE
time.tzset()
conf.configure(
    SECRET_KEY=settings["secret"],
    SECRET_KEY_FALLBACKS=settings.get("old_secrets", []),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    TIME_ZONE=ZONE,
    USE_TZ=settings.get("use_tz", True),
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **settings["database"]}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
)
django.setup()
call_command("migrate", verbosity=0)

from django.contrib import auth  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402

# In the order of their keys: 1, 2, ...
for name in settings["users"]:
    User.objects.create_user(name, f"{name}@Example.com", "a long enough password")


def login(request):
    user = User.objects.get(pk=request.GET["user"])
    found = auth.authenticate(request, username=user.username, password="a long enough password")
    auth.login(request, found)
    if "lives" in request.GET:
        request.session.set_expiry(int(request.GET["lives"]) // 1000)
    return HttpResponse(status=204)


def logout(request):
    auth.logout(request)
    return HttpResponse(status=204)


def change(request):
    """A request that takes its time and changes the session."""
    request.session["changed"] = random.random()
    time.sleep(int(request.GET["takes"]) / 1000)
    return HttpResponse(status=204)


def change_password(request):
    """Elsewhere, as an administrator does it: the session of this request is not carried over."""
    user = User.objects.get(pk=request.GET["user"])
    user.set_password("another long password")
    user.save()
    return HttpResponse(status=204)


def who(request):
    user = request.user.pk if request.user.is_authenticated else None
    return JsonResponse({"user": user, "told": request.headers.get("X-Forwarded-User")})


urlpatterns = [
    path("login", login),
    path("logout", logout),
    path("bye", logout),
    path("change", change),
    path("change-password", change_password),
    path("", who),
]


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


with make_server("127.0.0.1", 0, get_wsgi_application(), server_class=Threads, handler_class=Quiet) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
