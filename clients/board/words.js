/**
 * Words of somebody else's, made fit to stand in a line of ours.
 * @module
 */

/**
 * Characters that act instead of being read: controls, and marks that turn the direction of what
 * follows, here also of a score that stands behind a name.
 */
const ACTING = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** `value` if it is text, in one line, `max` letters long at most; `…` stands for the rest. */
export function plain(value, max = 80) {
  if (typeof value !== 'string') return '';
  // No letter takes more than two units: nobody takes a novel apart.
  const letters = [...value.slice(0, 2 * max + 2).replace(ACTING, ' ')];
  return letters.length > max ? `${letters.slice(0, max - 1).join('')}…` : letters.join('');
}
