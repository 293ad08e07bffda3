"""A coding agent's program, as small as can be: asks a model, runs what that says, prints lines of JSON.

It speaks Anthropic's dialect to AGENT_URL and keeps its conversations in its HOME.
"""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path

TOOL = {"name": "Bash", "description": "", "input_schema": {"type": "object", "properties": {"command": {}}}}


def ask(messages):
    body = {"model": "tiny", "max_tokens": 1000, "messages": messages, "tools": [TOOL]}
    address = os.environ["AGENT_URL"] + "/v1/messages"
    asked = urllib.request.Request(address, json.dumps(body).encode(), {"x-api-key": "from within"})
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)


def run(call):
    done = subprocess.run(call["input"]["command"], shell=True, check=False, capture_output=True, text=True)
    return {"type": "tool_result", "tool_use_id": call["id"], "content": done.stdout + done.stderr}


def say(**fields):
    print(json.dumps(fields), flush=True)


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    kept = Path(os.environ["HOME"], f"{wanted or uuid.uuid4()}.json")
    if wanted and not kept.exists():
        say(type="lost")
        return
    messages = json.loads(kept.read_text()) if wanted else []
    messages.append({"role": "user", "content": sys.stdin.read()})
    say(type="begun", session=kept.stem)
    while True:
        try:
            answer = ask(messages)
        except urllib.error.HTTPError as error:
            say(type="failed", message=f"{error.code} {error.read().decode()}")
            return
        messages.append({"role": "assistant", "content": answer["content"]})
        with Path(os.environ["HOME"], "spent.jsonl").open("a") as account:
            account.write(json.dumps(answer["usage"]) + "\n")
        say(type="answer", content=answer["content"], usage=answer["usage"])
        calls = [block for block in answer["content"] if block["type"] == "tool_use"]
        if not calls:
            break
        messages.append({"role": "user", "content": [run(call) for call in calls]})
    kept.write_text(json.dumps(messages))
    say(type="done", text="".join(block.get("text", "") for block in answer["content"]))


main()
