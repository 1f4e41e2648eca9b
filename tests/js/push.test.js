import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./support.js";

const { bytesOf, deviceName } = await load("data/hub/push.js");

test("the hub's key is read from base64url without padding", () => {
  assert.deepEqual([...bytesOf("-_8A")], [251, 255, 0]);
  assert.deepEqual([...bytesOf("AQ")], [1]);
});

test("a device is called what people call it", () => {
  const names = [
    ["Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 18 like Mac OS X) Safari/604.1", "Safari on iPhone"],
    ["Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"],
    ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"],
    ["curl/8", "Browser"],
  ];
  for (const [agent, name] of names) assert.equal(deviceName(agent), name);
});
