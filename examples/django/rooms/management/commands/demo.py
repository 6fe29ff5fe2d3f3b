from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from rest_framework.authtoken.models import Token

from rooms.models import Room


class Command(BaseCommand):
    help = "Makes the users alice and bob, whose passwords are alice-pw and bob-pw, and two rooms, or puts them right. Alice is in both."

    def handle(self, *args, **options):
        users = []
        for name in ("alice", "bob"):
            user, _ = get_user_model().objects.get_or_create(username=name)
            user.is_active = True
            if not user.check_password(f"{name}-pw"):
                user.set_password(f"{name}-pw")
            user.save()
            token, _ = Token.objects.get_or_create(user=user)
            self.stdout.write(f"{name}: password {name}-pw, token {token.key}")
            users.append(user)
        alice, bob = users
        for name, members in (("Harbour", [alice, bob]), ("Bridge", [alice])):
            room, _ = Room.objects.get_or_create(name=name)
            room.members.set(members)
            self.stdout.write(f"{room.group}: {name}, with {', '.join(u.username for u in members)}")
