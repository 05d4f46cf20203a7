"""What the order system over HTTP stands on, beside its services.

`python orders_plumbing.py registry` · `python orders_plumbing.py gateway TRIES`
"""

import asyncio
import itertools
import os
import sys
import time

import httpx
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

HEARTBEAT, EXPIRY = 0.25, 1.0  # seconds; real registries take 10 to 90 of them

heard = {}  # the registry's: (kind, address) → when that instance was last heard of
routes = {}  # the gateway's route map, kind → addresses, as the registry told it last


class Registry(RequestHandler):
    """The discovery: who is there, and where."""

    def post(self, kind):
        heard[kind, self.request.body.decode()] = time.monotonic()

    def get(self, _):
        present = {}
        for (kind, address), when in heard.items():
            if time.monotonic() - when < EXPIRY:
                present.setdefault(kind, []).append(address)
        self.write(present)


class Gateway(RequestHandler):
    """Sends POST /dispatch to an instance of dispatch, each in turn."""

    turn = itertools.count()
    tries = 1

    def get(self, _):
        self.write(routes)

    async def post(self, kind):
        addresses, first = routes.get(kind, []), next(self.turn)
        for number in range(min(self.tries, len(addresses))):
            try:
                address = addresses[(first + number) % len(addresses)]
                reply = await http.post(address, content=self.request.body)
                self.set_status(reply.status_code)
                return self.write(reply.content)
            except httpx.ConnectError:
                continue  # nothing was sent, so it is safe to try the next instance
            except httpx.HTTPError:
                break  # it may have been carried out: not safe
        return self.send_error(502)  # bad gateway


# -- what every HTTP program here needs -----------------------------------------------------------


class CountingServer(HTTPServer):
    """Counts the connections that it accepts."""

    accepted = 0

    def handle_stream(self, stream, address):
        CountingServer.accepted += 1
        super().handle_stream(stream, address)


class Accepted(RequestHandler):
    def get(self):
        self.write(str(CountingServer.accepted))


async def serve(handler, beat=None):
    """Listen on a free port of this machine, print the address, and call `beat(address)` again and again."""
    global http
    http = httpx.AsyncClient(trust_env=False, limits=httpx.Limits(keepalive_expiry=60))
    server = CountingServer(Application([("/accepted", Accepted), ("/(.*)", handler)]))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    print(address, flush=True)
    while beat:
        await beat(address)
        await asyncio.sleep(HEARTBEAT)
    await asyncio.Event().wait()  # for ever


def register(kind):
    """A beat that tells the registry: an instance of `kind` is here."""

    async def beat(address):
        await http.post(f"{os.environ['REGISTRY']}/{kind}", content=address)

    return beat


async def read_routes(_):
    global routes
    routes = (await http.get(os.environ["REGISTRY"])).json()


async def post(kind, order):
    """Ask another service, through the gateway."""
    reply = await http.post(f"{os.environ['GATEWAY']}/{kind}", content=order)
    return reply.raise_for_status().content


if __name__ == "__main__":
    if sys.argv[1] == "registry":
        asyncio.run(serve(Registry))
    else:
        Gateway.tries = int(sys.argv[2])
        asyncio.run(serve(Gateway, read_routes))
