// The language of the page. The English sentences in the code are the keys of `languages/*.json`; English itself needs no file.
//
// The file of another language is read before this module is done, and thereby before any module that imports it runs: a text
// may be a constant of a module.

import { deviceStorage } from "./storage.js";

/** @typedef {string | number} Value what stands in a place of a sentence */
/** @typedef {Record<string, string | Record<string, string>>} Catalogue a text, or one for each of the language's plural forms */

export const LANGUAGE_KEY = "hapi.language";

/** @type {Record<string, { name: string, locale: string }>} `name` in the language itself, `locale` as a BCP 47 tag */
export const LANGUAGE_NAMES = {
  en: { name: "English", locale: "en" },
  zh: { name: "简体中文", locale: "zh-CN" },
};

/**
 * The language that a person has chosen, or else the first of their system's that the page has.
 * @param {string | null} chosen
 * @param {readonly string[]} preferred tags such as "zh-Hans-CN", the best first
 */
export function languageFor(chosen, preferred) {
  const known = [chosen ?? "", ...preferred].map((tag) => tag.toLowerCase().split("-")[0]);
  return known.find((language) => Object.hasOwn(LANGUAGE_NAMES, language)) ?? "en";
}

/**
 * The locale for dates and numbers: the one of the system, if that is of the same language.
 * @param {string} language
 * @param {readonly string[]} preferred
 */
export function localeFor(language, preferred) {
  const { locale } = LANGUAGE_NAMES[language];
  return preferred.find((tag) => tag.startsWith(`${locale}-`)) ?? locale;
}

/** Read the texts of a language; none if that fails. @param {string} language @returns {Promise<Catalogue | null>} */
async function readCatalogue(language) {
  try {
    const response = await fetch(new URL(`../languages/${language}.json`, import.meta.url));
    if (!response.ok) throw new Error(`The hub returned status ${response.status}.`);
    return await response.json();
  } catch (error) {
    console.error("The texts of the page's language could not be read.", error);
    return null;
  }
}

// Unit tests and workers have none of these.
const { document: ownDocument, navigator: ownNavigator } = globalThis;
const preferredLanguages = ownNavigator?.languages ?? ["en"];
/** The language that the page should speak, also if its file could not be read. */
export const WANTED_LANGUAGE = languageFor(deviceStorage.getItem(LANGUAGE_KEY), preferredLanguages);
/** @type {Catalogue} */
let catalogue = {};
/** @type {string} */
let language = "en";
if (WANTED_LANGUAGE !== "en") {
  const found = await readCatalogue(WANTED_LANGUAGE);
  if (found) useLanguage(WANTED_LANGUAGE, found);
}
ownDocument?.documentElement.setAttribute("lang", LANGUAGE_NAMES[language].locale);

/** The locale of dates and numbers, as a BCP 47 tag. */
export const LOCALE = localeFor(language, preferredLanguages);

/** Speak another language. @param {string} next @param {Catalogue} texts */
export function useLanguage(next, texts) {
  language = next;
  catalogue = texts;
}

/**
 * A sentence in the language of the page, with values in its {places}.
 * @param {string} sentence in English
 * @param {Record<string, Value>} [values]
 * @returns {string}
 */
export function t(sentence, values) {
  const found = Object.hasOwn(catalogue, sentence) ? catalogue[sentence] : sentence;
  return filled(typeof found === "string" ? found : sentence, values);
}

/**
 * A sentence that depends on a count, which stands in its place {count}. Its key in a catalogue is `other`; languages with more
 * forms than one have an object there, with a text for each form of `Intl.PluralRules`.
 * @param {number} count
 * @param {string} one in English
 * @param {string} other in English
 * @param {Record<string, Value>} [values]
 * @returns {string}
 */
export function plural(count, one, other, values) {
  const form = new Intl.PluralRules(language).select(count);
  const found = Object.hasOwn(catalogue, other) ? catalogue[other] : { one, other };
  const text = typeof found === "string" ? found : (found[form] ?? found.other);
  return filled(text, { ...values, count });
}

/**
 * A sentence with nodes in its {places}, as a list of children for `h`.
 * @template Node
 * @param {string} sentence in English
 * @param {Record<string, Node>} nodes
 * @returns {(string | Node)[]}
 */
export function parts(sentence, nodes) {
  return t(sentence)
    .split(/(\{\w+\})/)
    .map((part) => {
      const name = /^\{(\w+)\}$/.exec(part)?.[1] ?? "";
      return Object.hasOwn(nodes, name) ? nodes[name] : part;
    });
}

/** @param {string} text @param {Record<string, Value> | undefined} values */
function filled(text, values) {
  if (!values) return text;
  return text.replace(/\{(\w+)\}/g, (place, name) =>
    Object.hasOwn(values, name) ? String(values[name]) : place,
  );
}
