"""The page's files, and what a browser lets them do."""

from mspn.checkpoints.index import ASSETS

PAGE = ASSETS / "page"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
    " connect-src 'self' data: blob:; worker-src 'self'; base-uri 'none'; form-action 'none'"
)
"""Nothing comes from another host, and nothing goes to one."""
