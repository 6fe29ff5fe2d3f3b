from django.conf import settings
from django.db import models


class Room(models.Model):
    """A room is a group of Fairlead: room 7 is the group room_7."""

    name = models.CharField(max_length=100)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="rooms")

    def __str__(self):
        return self.name

    @property
    def group(self):
        return f"room_{self.pk}"
