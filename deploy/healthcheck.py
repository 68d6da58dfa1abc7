#!/usr/bin/env python3
"""The container's health check: exit status 0 if the service in it answers /healthz with 200."""

import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_S = 3


def main() -> int:
    """Ask once."""
    connection = HTTPConnection("127.0.0.1", int(os.environ["AIRTALLY_HEALTH_PORT"]), timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
