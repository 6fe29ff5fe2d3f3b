from django.contrib.auth import views as auth
from django.urls import path
from rest_framework.authtoken.views import obtain_auth_token

from rooms import callback, views

urlpatterns = [
    path("", views.index, name="index"),
    path("rooms/<int:room_id>/", views.room, name="room"),
    path("login/", auth.LoginView.as_view(), name="login"),
    path("logout/", views.LogoutView.as_view(), name="logout"),
    path("password/", auth.PasswordChangeView.as_view(success_url="/"), name="password_change"),
    # What the page's script asks for, one for each kind of credential.
    path("api/whoami/", views.WhoAmI.as_view()),
    path("api/token/", obtain_auth_token),
    path("api/jwt/", views.jwt_cookie),
    path("api/ticket/", views.ticket),
    path("api/grant/<int:room_id>/", views.grant),
    # What Fairlead asks.
    path("fairlead/who/", callback.who),
    path("fairlead/may-join/", callback.may_join),
]
