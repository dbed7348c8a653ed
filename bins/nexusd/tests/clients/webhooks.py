"""Receives webhooks and verifies each with the official libraries, once for each secret.

  python webhooks.py --secrets FILE

FILE holds the secrets that the receiver has, one a line; it is read anew for each request. The first line of output
says where it listens, {"listening": <port>}; each request is a line, {"id": …, "verified": [{"standardwebhooks": true,
"svix": true}, …], "event": <the body>}. A request that either library refuses with the first secret is answered 401.
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixVerificationError

parser = argparse.ArgumentParser()
parser.add_argument("--secrets", required=True)
asked = parser.parse_args()


def tell(line):
    print(json.dumps(line), flush=True)


def verifies(library, refusal, secret, body, headers):
    try:
        library(secret).verify(body, headers)
        return True
    except refusal:
        return False


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with open(asked.secrets, encoding="utf-8") as file:
            secrets = file.read().split()
        verified = [
            {
                "standardwebhooks": verifies(Webhook, WebhookVerificationError, secret, body, headers),
                "svix": verifies(SvixWebhook, SvixVerificationError, secret, body, headers),
            }
            for secret in secrets
        ]
        tell({"id": headers["webhook-id"], "verified": verified, "event": json.loads(body)})
        self.send_response(204 if all(verified[0].values()) else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
tell({"listening": server.server_port})
server.serve_forever()
