"""The policy that keeps other scripts than ours out of the pages: they could use whatever credential a page has."""

import secrets

from . import fairlead


def content_security_policy(get_response):
    """Names what may be in a page. Without connect-src no page could open a WebSocket of another host or port."""

    def middleware(request):
        request.csp_nonce = secrets.token_urlsafe(16)
        response = get_response(request)
        response["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'nonce-{request.csp_nonce}'; style-src 'nonce-{request.csp_nonce}'; img-src data:; "
            f"connect-src 'self' {fairlead.url(request)}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        return response

    return middleware
