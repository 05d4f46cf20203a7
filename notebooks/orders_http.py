"""One service of the order system, over HTTP: `python orders_http.py create|dispatch|audit NAME`."""

import asyncio
import sys

from orders_plumbing import post, register, serve
from tornado.web import RequestHandler

kind, name = sys.argv[1:]


class Create(RequestHandler):
    async def post(self, _):
        order = self.request.body
        await post("audit", b"create " + order)
        sent = await post("dispatch", order)
        self.write(b"accepted; " + sent)


class Dispatch(RequestHandler):
    async def post(self, _):
        await asyncio.sleep(0.001)  # the work
        self.write(self.request.body + f" sent by {name}".encode())


class Audit(RequestHandler):
    def post(self, _):
        print("noted:", self.request.body.decode(), flush=True)


handlers = {"create": Create, "dispatch": Dispatch, "audit": Audit}
asyncio.run(serve(handlers[kind], register(kind)))
