// A rule of the linter: a text that people read passes through `t`, `plural` or `parts` of lib/language.js.

const NAMES =
  /^(HAPI|HAPI for Twisted|Telegram|CPU|hapi runner start|git|~\/project|Diagrams| · HAPI)$/; // the same in each language
const SENTENCE = /^[A-Z][a-z']+ [a-z].*[.?!…]$/;
const REPORTS = /^(console\.\w+|reportOnce|attempt)$/; // for the browser's console

/** The functions that show their arguments, and the first argument of each that is shown. @type {Record<string, number>} */
const SHOWN_FROM = {
  h: 2,
  append: 1,
  fill: 1,
  button: 0,
  linkButton: 0,
  iconButton: 1,
  toast: 0,
  openDialog: 0,
  announce: 0,
};
const SHOWN_ONLY = new Set(["button", "linkButton", "iconButton", "toast", "openDialog"]); // one argument
const SHOWN_KEYS = new Set([
  "aria-label",
  "title",
  "placeholder",
  "alt",
  "label",
  "text",
  "action",
]);
const SHOWN_FIELDS = new Set(["textContent", "title", "placeholder"]);

/** @param {any} node */
const keyOf = ({ key }) => key.name ?? key.value;

/** Whether people see what `node` is. @param {any} node @param {any} source */
function isShown(node, source) {
  const { parent } = node;
  switch (parent.type) {
    case "ConditionalExpression":
      return parent.test !== node && isShown(parent, source);
    case "LogicalExpression":
    case "ArrayExpression":
      return isShown(parent, source);
    case "Property":
      return parent.value === node && SHOWN_KEYS.has(keyOf(parent));
    case "AssignmentExpression":
      return parent.right === node && SHOWN_FIELDS.has(parent.left.property?.name);
    case "NewExpression":
      return /(Error|Problem)$/.test(source.getText(parent.callee)) && parent.arguments[0] === node;
    case "CallExpression": {
      const name = source.getText(parent.callee);
      const index = parent.arguments.indexOf(node);
      if (!Object.hasOwn(SHOWN_FROM, name) || index < SHOWN_FROM[name]) return false;
      return !SHOWN_ONLY.has(name) || index === SHOWN_FROM[name];
    }
    default:
      return false;
  }
}

/** Whether a text is compared, named as a key, or written for developers. @param {any} node @param {any} source */
function isElsewhere({ parent }, source) {
  if (parent.type === "CallExpression") {
    const name = source.getText(parent.callee);
    return ["t", "plural", "parts"].includes(name) || REPORTS.test(name);
  }
  return ["BinaryExpression", "ImportDeclaration", "SwitchCase"].includes(parent.type);
}

export const translated = {
  create(/** @type {any} */ context) {
    const source = context.sourceCode;
    /** @param {any} node @param {string} text */
    const check = (node, text) => {
      if (!/[A-Za-z]{2}/.test(text) || NAMES.test(text)) return;
      const isText = isShown(node, source) || (SENTENCE.test(text) && !isElsewhere(node, source));
      if (isText)
        context.report({ node, message: "A text that people read must pass through t()." });
    };
    return {
      Literal: (/** @type {any} */ node) => {
        if (typeof node.value === "string" && node.parent.key !== node) check(node, node.value);
      },
      TemplateLiteral: (/** @type {any} */ node) =>
        check(node, node.quasis.map((/** @type {any} */ { value }) => value.cooked).join("")),
    };
  },
};
