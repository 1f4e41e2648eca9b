import assert from "node:assert/strict";
import { test } from "node:test";
import { load, MemoryStorage } from "./support.js";

const { isDark, MiniApp } = await load("data/hub/telegram.js");
const HASH = "#tgWebAppData=user%3D%257B%257D%26hash%3Dab&tgWebAppThemeParams=%7B%7D";

test("the page is a Mini App when Telegram says so, and stays one after a reload", () => {
  const tab = new MemoryStorage();
  assert.equal(MiniApp.find({ hash: "" }, tab), null);
  assert.equal(MiniApp.find({ hash: HASH }, tab).initData, "user=%7B%7D&hash=ab");
  assert.equal(MiniApp.find({ hash: "" }, tab).initData, "user=%7B%7D&hash=ab");
});

test("a theme that is no JSON changes nothing", () => {
  const hash = "#tgWebAppData=x&tgWebAppThemeParams=%7B";
  assert.deepEqual(MiniApp.find({ hash }, new MemoryStorage()).theme, {});
});

test("light and dark follow the colour of the background", () => {
  assert.equal(isDark("#ffffff"), false);
  assert.equal(isDark("#17212b"), true);
});
