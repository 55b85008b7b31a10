"""The whole service as one ASGI application: which layers a request passes, and what each route does.

Knows nothing of the server around it (uvicorn, or BentoML) and nothing of where models run.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from evergreen.access import KeyRing, Permission
from serving.api.alerts import AlertBody, Bell, NotOnRecord, ring
from serving.api.body import BODY_SECONDS, only_json, whole_body
from serving.api.callers import Callers
from serving.api.desk import Desk, LabelLost, UnknownLabel, UnknownRequest
from serving.api.exchange import MAX_GROUPS, Body, Feedback, faults, refusal, request_model
from serving.api.health import LIVE, READY, Health
from serving.api.json_bounds import TooMuch, check
from serving.api.last_resort import LastResort
from serving.api.pressure import Admission, Memory, deadline
from serving.api.rate import Rate
from serving.api.refusals import Refusal, Refusals, reply
from serving.model.backend import NotReady, UnusableText
from serving.settings import Limits

PREDICT, FEEDBACK, ALERTS, METRICS = "/predict", "/feedback", "/alerts", "/metrics"
Handler = Callable[[Any, str], Awaitable[BaseModel]]
FEEDBACK_BYTES = 4096
DEPTH = 3  # of a request: an object, in it a list or an object
ALERT_BYTES, ALERT_PARTS, ALERT_DEPTH = 500_000, 20_000, 4  # Alertmanager sends many at once, each with labels and annotations
BODIES = 32_000_000  # bytes of bodies held at once, or twice the largest one


def build_app(
    desk: Desk,
    bell: Bell,
    pages: Mapping[str, ASGIApp],
    keys: KeyRing,
    limits: Limits,
    *,
    rate: Rate,
    admission: Admission,
    health: Health,
    body_seconds: float = BODY_SECONDS,
) -> ASGIApp:
    """Return the service. `pages` are further routes for GET, by path; they need the permission to read.

    Outermost first: last resort and headers, refusals, health, known routes, who asks, how fast, then the route itself.
    """
    memory = Memory(max(BODIES, 2 * limits.max_bytes))
    asked = _Posted(request_model(limits), limits.max_bytes, memory, limits.timeout, body_seconds, parts=parts_of(limits))
    told = _Posted(Feedback, FEEDBACK_BYTES, memory, limits.timeout, body_seconds, parts=64)

    rung = _Posted(AlertBody, ALERT_BYTES, memory, limits.timeout, body_seconds, parts=ALERT_PARTS, depth=ALERT_DEPTH)

    async def answer(request: Body, key_id: str) -> BaseModel:
        rate.take(key_id, len(request.asked))
        with admission.claim(len(request.asked)):
            return await desk.predict(request, key_id)

    async def feedback(request: Feedback, key_id: str) -> BaseModel:
        rate.take(key_id, 1)
        return await desk.feedback(request, key_id)

    async def alert(request: AlertBody, key_id: str) -> BaseModel:
        rate.take(key_id, 1)
        return await ring(bell, request)

    async def predict(scope: Scope, receive: Receive, send: Send) -> None:
        admission.check()
        await asked.serve(answer, scope, receive, send)

    async def feed(scope: Scope, receive: Receive, send: Send) -> None:
        await told.serve(feedback, scope, receive, send)

    async def alarm(scope: Scope, receive: Receive, send: Send) -> None:
        await rung.serve(alert, scope, receive, send)

    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        page, kind = desk.metrics.exposition()
        await send({"type": "http.response.start", "status": 200, "headers": [_length(page), (b"content-type", kind.encode())]})
        await send({"type": "http.response.body", "body": page})

    posts: dict[str, tuple[Permission, ASGIApp]] = {PREDICT: ("predict", predict), FEEDBACK: ("feedback", feed), ALERTS: ("alert", alarm)}
    gets: dict[str, tuple[Permission, ASGIApp]] = {METRICS: ("read", metrics), **{path: ("read", page) for path, page in pages.items()}}
    needs = {path: needed for path, (needed, _) in (posts | gets).items()}
    apps = {path: app for path, (_, app) in (posts | gets).items()}

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        rate.check(scope["caller"].key_id)
        await apps[scope["path"]](scope, receive, send)

    methods = dict.fromkeys(posts, ("POST",)) | dict.fromkeys([*gets, LIVE, READY], ("GET", "HEAD"))
    known = _Known(Callers(route, keys, needs), methods)
    return LastResort(Refusals(health.before(known), desk.metrics), desk.metrics, methods)


class _Known:
    """Refuses unknown paths (404) and wrong methods (405)."""

    def __init__(self, app: ASGIApp, methods: Mapping[str, tuple[str, ...]]) -> None:
        self.app, self.methods = app, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowed = self.methods.get(scope["path"])
        if allowed is None:
            raise Refusal(404, f"there is nothing here; the routes are {', '.join(sorted(self.methods))}", reason="path")
        if scope["method"] not in allowed:
            names = ", ".join(allowed)
            raise Refusal(405, f"this route answers {names}", reason="method", headers=[(b"allow", names.encode())])
        await self.app(scope, receive, send)


class _Posted:
    """A route that takes a JSON body of one shape, and how it is read: of this many bytes and parts, within these seconds."""

    def __init__(
        self, shape: type[BaseModel], most: int, memory: Memory, seconds: float, body_seconds: float, *, parts: int, depth: int = DEPTH
    ) -> None:
        self.shape, self.most, self.memory, self.parts, self.depth = shape, most, memory, parts, depth
        self.seconds, self.body_seconds = seconds, body_seconds

    async def serve(self, handle: Handler, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the request, have it handled before its deadline, and send the answer."""
        only_json(scope)
        async with whole_body(scope, receive, most=self.most, memory=self.memory, seconds=self.body_seconds) as body:
            request = self._parse(body)
            async with deadline(self.seconds, receive):
                try:
                    answer = await handle(request, scope["caller"].key_id)
                except UnusableText as fault:
                    raise Refusal(400, str(fault), reason="request") from None
                except UnknownLabel as fault:
                    what = f"not a label of the model; the choices are {', '.join(fault.choices)}"
                    content = {"error": f"label: {what}", "detail": [{"where": "label", "what": what}]}
                    raise Refusal(400, what, reason="request", content=content) from None
                except UnknownRequest:
                    raise Refusal(404, "no answer of this request_id is on record here", reason="request id") from None
                except LabelLost:
                    words = "the label could not be kept, because the request log is full; send it again later"
                    raise Refusal(503, words, reason="log full", headers=[RETRY]) from None
                except NotOnRecord:
                    words = "the alert could not be put on record, because the database does not answer; send it again later"
                    raise Refusal(503, words, reason="alerts", headers=[RETRY]) from None
                except NotReady:
                    raise Refusal(503, "no model can answer just now; come back in 1 s", reason="not ready", headers=[RETRY]) from None
        await reply(send, 200, answer.model_dump_json().encode())

    def _parse(self, body: bytes) -> BaseModel:
        try:
            check(body, parts=self.parts, depth=self.depth)
            return self.shape.model_validate_json(body)
        except TooMuch as fault:
            raise Refusal(400, str(fault), reason="request", content=refusal(str(fault))) from None
        except ValidationError as fault:
            raise Refusal(400, "", reason="request", content=faults(fault, self.shape)) from None


RETRY = (b"retry-after", b"1")


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(body)).encode()


def parts_of(limits: Limits) -> int:
    """Return the parts of JSON that the largest request has, and as many again for one that is a little wrong."""
    return 2 * (2 * limits.max_texts + 4 * MAX_GROUPS + 16)
