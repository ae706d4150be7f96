"""What schemathesis has to know to get beyond the first refusal; see xtask/src/schema.rs.

Some sessions wait at a gate from the beginning. Most that are made are of the agent that is there, in a directory that is
there, and most requests are about something that is there. Nothing else is made easier.
"""

import json
import os
import random
import urllib.request
import zlib

import schemathesis

URL = os.environ["LK_SCHEMA_URL"]
WORKSPACE = os.environ["LK_SCHEMA_WORKSPACE"]

# How many requests are sent as they were generated.
AS_IT_IS = 0.25

# How long a request that waits may wait, in milliseconds: what comes of a wait is tested elsewhere.
WAIT_MS = 50

# As many as there are slots, so that each of them waits at its gate.
AT_GATES = 2

# The names that were given last, by the parameter that takes them.
NAMES = 8
known = {"session": [], "prompt": [], "gate": [], "claim": [], "rule": [], "webhook": ["ci"]}

# The same choices each time.
chance = random.Random(1)
made = 0


def session(no):
    """A session that can be made, by its number."""
    body = {"agent": "demo", "dir": WORKSPACE, "keep": no % 2 == 0, "labels": {"made": str(no)}}
    if no % 3:
        body |= {"prompt": "write a test", "class": "normal"}
    return body


def post(path, body=None):
    head = {"content-type": "application/json"}
    data = b"" if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data=data, headers=head)
    urllib.request.urlopen(request, timeout=20).close()


for no in range(AT_GATES):
    post("/v1/sessions", session(2 + 2 * no))


def learn(name, value):
    if isinstance(value, str):
        known[name] = [*known[name], value][-NAMES:]


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Changes a request before it is sent."""
    global made
    # A stream does not end; what it sends has tests of its own.
    for name in list(case.headers or {}):
        if name.lower() == "accept" and "event-stream" in str(case.headers[name]):
            del case.headers[name]
    if isinstance(case.query, dict) and "wait" in case.query:
        case.query["timeout"] = WAIT_MS
    # A walk takes its names out of answers, and begins with a session that can be made.
    walks = case.meta is not None and "stateful" in str(case.meta.phase.name).lower()
    if not walks and chance.random() < AS_IT_IS:
        return
    if case.operation.label == "POST /v1/sessions":
        if walks:
            # Hypothesis goes a walk again to vary it: what it makes must not depend on what was made before.
            no = zlib.crc32(repr(case.body).encode())
        else:
            made += 1
            no = made
        case.body, case.headers, case.query = session(no), {}, {}
    if walks:
        return
    for name in case.path_parameters or {}:
        if known.get(name):
            case.path_parameters[name] = chance.choice(known[name])
    if "claim" in (case.path_parameters or {}):
        case.path_parameters["session"] = case.path_parameters["claim"].split(".")[0]


@schemathesis.hook
def after_call(ctx, case, response):
    """Learns names. Lets a host go on that was paused: nothing would begin any more."""
    label = case.operation.label
    if response.status_code >= 300:
        return
    if label == "POST /v1/daemon/pause":
        post("/v1/daemon/unpause")
    if label == "POST /v1/sessions":
        body = response.json()
        learn("session", body["session"]["id"])
        learn("prompt", (body["prompt"] or {}).get("prompt"))
    if label == "POST /v1/sessions/{session}/prompts":
        learn("prompt", response.json()["prompt"])
    if label == "POST /v1/sessions/{session}/claims":
        learn("claim", response.json()["id"])
    if label == "POST /v1/rules":
        learn("rule", response.json()["id"])
    if label == "GET /v1/gates":
        for gate in response.json()["items"]:
            learn("gate", gate["id"])
