// The names under which agents and files know the languages that can be coloured.

/** @type {Record<string, string>} language of highlight.js -> its other names, among them the endings of its files */
const NAMES = {
  awk: "gawk",
  bash: "sh zsh ksh fish shell-script bashrc zshrc profile",
  c: "h",
  clojure: "clj cljs cljc edn",
  cmake: "",
  cpp: "c++ cc cxx hpp hh hxx ino cu",
  csharp: "cs c#",
  css: "",
  dart: "",
  diff: "patch udiff",
  dockerfile: "docker containerfile",
  elixir: "ex exs",
  erlang: "erl hrl",
  fsharp: "fs fsx f#",
  glsl: "vert frag",
  go: "golang",
  gradle: "",
  graphql: "gql",
  groovy: "jenkinsfile",
  haskell: "hs",
  http: "",
  ini: "toml cfg conf editorconfig gitconfig service",
  java: "",
  javascript: "js jsx mjs cjs node",
  json: "json5 jsonc jsonl ipynb webmanifest",
  julia: "jl",
  kotlin: "kt kts",
  latex: "tex sty",
  less: "",
  lisp: "el cl emacs-lisp",
  lua: "luau",
  makefile: "make mk gnumakefile",
  markdown: "md mkd mdx",
  matlab: "octave",
  nginx: "nginxconf",
  nix: "",
  objectivec: "objc obj-c mm objective-c",
  ocaml: "ml mli",
  perl: "pl pm",
  pgsql: "postgres postgresql",
  php: "php8",
  powershell: "ps ps1 psm1 pwsh",
  properties: "",
  protobuf: "proto",
  python: "py pyi pyw python3 pycon",
  r: "rscript",
  ruby: "rb gemfile rakefile",
  rust: "rs",
  scala: "sbt sc",
  scss: "sass",
  shell: "console shellsession terminal",
  sql: "mysql sqlite",
  swift: "",
  typescript: "ts tsx mts cts",
  vbnet: "vb",
  vim: "vimrc viml",
  wasm: "wat",
  xml: "html htm xhtml svg rss vue svelte plist xsd xsl",
  yaml: "yml",
};

/** @type {Map<string, string>} */
const LANGUAGES = new Map(
  Object.entries(NAMES).flatMap(([language, others]) =>
    [language, ...others.split(" ").filter(Boolean)].map((name) => [name, language]),
  ),
);

/** The languages that can be coloured. */
export const KNOWN_LANGUAGES = Object.keys(NAMES);

/**
 * The language that a fence or a person names; null if it cannot be coloured.
 * @param {string} name
 * @returns {string | null}
 */
export function languageNamed(name) {
  return LANGUAGES.get(name.toLowerCase().replace(/^language-/, "")) ?? null;
}

/**
 * The language of a file by its name; null if it cannot be coloured.
 * @param {string} path
 * @returns {string | null}
 */
export function languageOfPath(path) {
  const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  if (name === "cmakelists.txt") return "cmake";
  if (name.startsWith("dockerfile")) return "dockerfile";
  return languageNamed(name.slice(name.lastIndexOf(".") + 1));
}
