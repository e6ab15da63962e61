/**
 * Colours of a team, derived from its id: the same on every screen, without a list that anybody
 * must keep.
 *
 * A hash picks one of a few dozen hues, a second colour, and a pattern, as on a shirt. Values go
 * through the CSSOM, which the page's content security policy allows; markup never carries them.
 * @module
 */

const PATTERNS = ['solid', 'stripes', 'halves', 'hoops', 'sash'];
const SECONDS = ['#f4f5f2', '#14181f', '#ffe14a', '#9fd3ff'];

/** FNV-1a, 32 bits: small, and spread well enough for colours. */
function hash(text) {
  let value = 0x811c9dc5;
  for (const character of text) {
    value = Math.imul(value ^ character.codePointAt(0), 0x01000193) >>> 0;
  }
  // A last stir: ids that differ in their last letter only should not look alike.
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d) >>> 0;
  return (value ^ (value >>> 13)) >>> 0;
}

/** Hue in degrees, second colour and pattern of a team. */
export function kit(team) {
  const value = hash(team);
  return {
    hue: (value % 24) * 15,
    second: SECONDS[(value >>> 8) % SECONDS.length],
    pattern: PATTERNS[(value >>> 16) % PATTERNS.length],
  };
}

/** Dresses an element that has the class `kit`. */
export function dress(element, team) {
  const { hue, second, pattern } = kit(team);
  element.style.setProperty('--hue', String(hue));
  element.style.setProperty('--second', second);
  element.dataset.pattern = pattern;
}
