// Character references: the numeric ones, and those that HTML 4 names. The two thousand names that HTML 5 added are
// left out: their table is larger than the parser, and nobody writes them to be read.

const LATIN =
  "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro " +
  "para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil " +
  "Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave " +
  "Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml " +
  "igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute " +
  "thorn yuml"; // from U+00A0 on
const GREEK =
  "Alpha Beta Gamma Delta Epsilon Zeta Eta Theta Iota Kappa Lambda Mu Nu Xi Omicron Pi Rho - Sigma Tau Upsilon Phi Chi " +
  "Psi Omega - - - - - - - alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho " +
  "sigmaf sigma tau upsilon phi chi psi omega"; // from U+0391 on
const OTHERS =
  "quot \" amp & apos ' lt < gt > OElig Œ oelig œ Scaron Š scaron š Yuml Ÿ fnof ƒ circ ˆ tilde ˜ ensp \u2002 emsp \u2003 " +
  "thinsp \u2009 zwnj \u200c zwj \u200d lrm \u200e rlm \u200f ndash – mdash — lsquo ‘ rsquo ’ sbquo ‚ ldquo “ rdquo ” " +
  "bdquo „ dagger † Dagger ‡ bull • hellip … permil ‰ prime ′ Prime ″ lsaquo ‹ rsaquo › oline ‾ frasl ⁄ euro € image ℑ " +
  "weierp ℘ real ℜ trade ™ alefsym ℵ larr ← uarr ↑ rarr → darr ↓ harr ↔ crarr ↵ lArr ⇐ uArr ⇑ rArr ⇒ dArr ⇓ hArr ⇔ " +
  "forall ∀ part ∂ exist ∃ empty ∅ nabla ∇ isin ∈ notin ∉ ni ∋ prod ∏ sum ∑ minus − lowast ∗ radic √ prop ∝ infin ∞ " +
  "ang ∠ and ∧ or ∨ cap ∩ cup ∪ int ∫ there4 ∴ sim ∼ cong ≅ asymp ≈ ne ≠ equiv ≡ le ≤ ge ≥ sub ⊂ sup ⊃ nsub ⊄ sube ⊆ " +
  "supe ⊇ oplus ⊕ otimes ⊗ perp ⊥ sdot ⋅ lceil ⌈ rceil ⌉ lfloor ⌊ rfloor ⌋ lang ⟨ rang ⟩ loz ◊ spades ♠ clubs ♣ " +
  "hearts ♥ diams ♦ thetasym ϑ upsih ϒ piv ϖ";

const REPLACEMENT = "\ufffd";
const LAST_CODE_POINT = 0x10ffff;
const REFERENCE = /&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z][a-z0-9]{1,31}));/iy;
const ESCAPED = /\\([!-/:-@[-`{-~])|&(?:#x[0-9a-f]{1,6}|#\d{1,7}|[a-z][a-z0-9]{1,31});/gi;

/** @type {Map<string, string> | null} */
let named = null;

function names() {
  if (named) return named;
  named = new Map();
  for (const [list, first] of /** @type {[string, number][]} */ ([
    [LATIN, 0xa0],
    [GREEK, 0x391],
  ]))
    list.split(" ").forEach((name, at) => named?.set(name, String.fromCharCode(first + at)));
  named.delete("-");
  const others = OTHERS.split(" ");
  for (let at = 0; at < others.length; at += 2) named.set(others[at], others[at + 1]);
  return named;
}

/** @param {number} code */
function character(code) {
  const isNone = code === 0 || code > LAST_CODE_POINT || (code >= 0xd800 && code <= 0xdfff);
  return isNone ? REPLACEMENT : String.fromCodePoint(code);
}

/**
 * The character reference at `at` and where it ends; null if there is none.
 * @param {string} text
 * @param {number} at
 */
export function entityAt(text, at) {
  REFERENCE.lastIndex = at;
  const match = REFERENCE.exec(text);
  if (!match) return null;
  const [whole, hexadecimal, decimal, name] = match;
  const value = name
    ? names().get(name)
    : character(hexadecimal ? parseInt(hexadecimal, 16) : parseInt(decimal, 10));
  return value === undefined ? null : { value, end: at + whole.length };
}

/** A text with its backslash escapes and character references replaced. @param {string} text */
export function unescaped(text) {
  return text.replace(ESCAPED, (whole, escaped) => escaped ?? entityAt(whole, 0)?.value ?? whole);
}
