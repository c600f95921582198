"""Who may do what to which session, judged from a request's credentials alone.

The gateway asks once per request, before anything else, and never asks a session's content: a session that is not
yours and one that does not exist look alike (404).
"""

from holdfast_gateway.auth.grants import Action, Authenticator, Credentials, Grant, Unauthenticated
from holdfast_gateway.auth.nobody import NoAuthentication

__all__ = ["Action", "Authenticator", "Credentials", "Grant", "NoAuthentication", "Unauthenticated"]
