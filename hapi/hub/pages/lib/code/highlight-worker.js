// Finds the tokens of code, in a worker that the page ends when it takes too long.

import { vendoredAddress } from "../vendored.js";

/** @type {Promise<any> | null} */
let core = null;
/** @type {Map<string, Promise<void>>} */
const languages = new Map();

/** @param {string} path below the directory of highlight.js */
async function loaded(path) {
  const { default: module } = await import(vendoredAddress(`highlight/${path}`));
  return module;
}

/** @param {string} language */
async function highlighter(language) {
  core ??= loaded("core.min.js");
  const hljs = await core;
  if (!languages.has(language))
    languages.set(
      language,
      loaded(`languages/${language}.min.js`).then((grammar) =>
        hljs.registerLanguage(language, grammar),
      ),
    );
  await languages.get(language);
  return hljs;
}

/**
 * The tokens in the tree that highlight.js makes: of each piece of text, the innermost kind.
 * @param {any} root
 */
function tokensOf(root) {
  /** @type {string[]} */
  const kinds = [];
  /** @type {number[]} */
  const ranges = [];
  let at = 0;
  /** @param {any} node @param {number} kind */
  const visit = (node, kind) => {
    if (typeof node === "string") {
      if (kind >= 0) ranges.push(at, at + node.length, kind);
      at += node.length;
      return;
    }
    let inner = kind;
    if (node.scope && !node.scope.startsWith("language:")) {
      const name = node.scope.split(".")[0];
      inner = kinds.indexOf(name);
      if (inner < 0) inner = kinds.push(name) - 1;
    }
    for (const child of node.children) visit(child, inner);
  };
  visit(root, -1);
  return { kinds, ranges: Uint32Array.from(ranges) };
}

addEventListener("message", async ({ data: { id, code, language } }) => {
  try {
    const hljs = await highlighter(language);
    postMessage({ id, started: true });
    const { _emitter: emitter } = hljs.highlight(code, { language, ignoreIllegals: true });
    postMessage({ id, tokens: tokensOf(emitter.rootNode) });
  } catch (error) {
    postMessage({ id, error: String(error) });
  }
});
