/**
 * What people write: the last posts, newest first. Anybody may write them, so they are text and
 * nothing else, cut to a length and bounded in number.
 *
 * A flood is drawn a few times a second, not for every post.
 * @module
 */

import { dress } from './kit.js';
import { plain } from './words.js';

const KEPT_MAX = 60;
const SHOWN_MAX = 6;
const TEXT_MAX = 280;
const AUTHOR_MAX = 40;
const TEAMS_MAX = 8;

const text = (value, max) => {
  if (typeof value !== 'string') return '';
  const letters = [...value];
  return letters.length > max ? `${letters.slice(0, max).join('')}…` : value;
};

/** What of an event of the stream `social` is shown, or nothing where there is no text. */
export function readPost({ source, id, teams, data }) {
  const said = text(data?.text, TEXT_MAX).trim();
  if (said === '') return null;
  return {
    id: `${text(source, 64)} ${text(id, 128)}`,
    author: plain(data?.author, AUTHOR_MAX).trim(),
    said,
    teams: (Array.isArray(teams) ? teams : []).slice(0, TEAMS_MAX).map(String),
  };
}

export class Posts {
  #section;
  #list;
  #empty;
  #nameOf;
  #posts = [];
  #made = new Map();

  constructor({ section, list, empty }, nameOf) {
    this.#section = section;
    this.#list = list;
    this.#empty = empty;
    this.#nameOf = nameOf;
  }

  take(event) {
    const post = readPost(event);
    if (!post || this.#posts.some(({ id }) => id === post.id)) return;
    this.#posts = [post, ...this.#posts].slice(0, KEPT_MAX);
  }

  /** Shows the newest posts of the teams that `wants` names. */
  render(wants) {
    const shown = this.#posts.filter(({ teams }) => wants(teams)).slice(0, SHOWN_MAX);
    const elements = shown.map((post) => {
      if (!this.#made.has(post.id)) this.#made.set(post.id, this.#make(post));
      return this.#made.get(post.id);
    });
    // Those that stay are not touched: whatever is put in anew arrives once more.
    const kept = new Set(shown.map(({ id }) => id));
    for (const [id, element] of this.#made) {
      if (kept.has(id)) continue;
      element.remove();
      this.#made.delete(id);
    }
    elements.forEach((element, index) => {
      const there = this.#list.children[index];
      if (there !== element) this.#list.insertBefore(element, there ?? null);
    });
    // Where nobody ever writes there is no place for it.
    this.#section.hidden = this.#posts.length === 0;
    this.#list.hidden = shown.length === 0;
    this.#empty.hidden = shown.length > 0;
  }

  #make({ author, said, teams }) {
    const part = (tag, name, content = '') => {
      const element = document.createElement(tag);
      element.className = name;
      element.textContent = content;
      return element;
    };
    const element = part('li', 'post');
    const head = part('p', 'by');
    for (const team of teams) {
      const swatch = part('span', 'kit');
      dress(swatch, team);
      head.append(swatch);
    }
    const names = teams.map((team) => this.#nameOf(team)).join(', ');
    head.append(part('b', '', author || 'somebody'), ' ', part('span', '', names));
    // Letters of any direction stay within their own post.
    const body = part('p', 'said', said);
    body.dir = 'auto';
    element.append(head, body);
    return element;
  }
}
