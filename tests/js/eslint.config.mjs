// The linter's rules for the page's scripts and their tests. Types and undefined names are TypeScript's part, layout is Prettier's.

import { translated } from "./translated.mjs";

const rules = {
  "constructor-super": "error",
  "for-direction": "error",
  "getter-return": "error",
  "no-async-promise-executor": "error",
  "no-case-declarations": "error",
  "no-class-assign": "error",
  "no-compare-neg-zero": "error",
  "no-cond-assign": ["error", "always"],
  "no-const-assign": "error",
  "no-constant-binary-expression": "error",
  "no-constant-condition": ["error", { checkLoops: false }],
  "no-control-regex": "error",
  "no-debugger": "error",
  "no-dupe-class-members": "error",
  "no-dupe-else-if": "error",
  "no-dupe-keys": "error",
  "no-duplicate-case": "error",
  "no-duplicate-imports": "error",
  "no-empty": "error",
  "no-empty-character-class": "error",
  "no-ex-assign": "error",
  "no-extra-boolean-cast": "error",
  "no-fallthrough": "error",
  "no-func-assign": "error",
  "no-import-assign": "error",
  "no-irregular-whitespace": "error",
  "no-loss-of-precision": "error",
  "no-misleading-character-class": "error",
  "no-promise-executor-return": "error",
  "no-prototype-builtins": "error",
  "no-self-assign": "error",
  "no-self-compare": "error",
  "no-setter-return": "error",
  "no-shadow-restricted-names": "error",
  "no-sparse-arrays": "error",
  "no-template-curly-in-string": "error",
  "no-this-before-super": "error",
  "no-unreachable": "error",
  "no-unreachable-loop": "error",
  "no-unsafe-finally": "error",
  "no-unsafe-negation": "error",
  "no-unsafe-optional-chaining": "error",
  "no-unused-private-class-members": "error",
  "no-unused-vars": "error",
  "no-useless-assignment": "error",
  "no-useless-backreference": "error",
  "no-useless-catch": "error",
  "no-useless-escape": "error",
  "use-isnan": "error",
  "valid-typeof": "error",
  eqeqeq: "error",
  "no-eval": "error",
  "no-extend-native": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "no-new-wrappers": "error",
  "no-param-reassign": "error",
  "no-return-assign": "error",
  "no-script-url": "error",
  "no-shadow": "error",
  "no-throw-literal": "error",
  "no-unused-expressions": "error",
  "no-useless-call": "error",
  "no-useless-concat": "error",
  "no-useless-return": "error",
  "no-var": "error",
  "object-shorthand": "error",
  "prefer-const": "error",
  "prefer-template": "error",
  "max-lines-per-function": ["error", { max: 90, skipBlankLines: true, skipComments: true }],
  "max-lines": ["error", { max: 430, skipBlankLines: true, skipComments: true }],
};

// Text becomes text nodes and nothing else: these would let it become markup or code.
const noMarkup = {
  "no-restricted-properties": [
    "error",
    ...["innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc"].map((property) => ({ property })),
    { object: "document", property: "write" },
  ],
  "no-restricted-syntax": [
    "error",
    {
      // hapi/hub/http/page_build.py removes comments line by line.
      selector: "TemplateElement[value.raw=/\\n/]",
      message: "A text must not span lines.",
    },
  ],
};

// What the browser keeps belongs to an origin, which several hubs may share.
const noSharedStorage = {
  "no-restricted-globals": [
    "error",
    ...["localStorage", "sessionStorage", "indexedDB", "BroadcastChannel"].map((name) => ({
      name,
      message: "Use lib/storage.js, which gives each base path keys of its own.",
    })),
  ],
};

export default [
  { ignores: ["hapi/hub/pages/vendor/**"] },
  {
    files: ["**/*.js", "**/*.mjs"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules,
  },
  { files: ["hapi/hub/pages/**/*.js"], rules: { ...noMarkup, ...noSharedStorage } },
  {
    files: ["hapi/hub/pages/**/*.js"],
    // The names of a notification's actions are no texts, and failures for developers are English in every language.
    ignores: [
      "hapi/hub/pages/service-worker.js",
      "hapi/hub/pages/lib/language.js",
      "hapi/hub/pages/lib/code/diagram-frame.js",
    ],
    plugins: { page: { rules: { translated } } },
    rules: { "page/translated": "error" },
  },
  { files: ["**/*.test.js"], rules: { "max-lines-per-function": "off", "no-script-url": "off" } },
];
