/**
 * Light or dark: the system's wish, until the reader says otherwise; the choice is kept.
 * @module
 */

const KEY = 'touchline.theme';

export function themeToggle(button) {
  const system = matchMedia('(prefers-color-scheme: light)');
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEY);
  } catch {
    // A storage that is forbidden: the system's wish counts.
  }
  const isLight = () => (chosen ? chosen === 'light' : system.matches);
  const show = () => {
    if (chosen) document.documentElement.dataset.theme = chosen;
    button.setAttribute('aria-pressed', String(isLight()));
  };
  button.addEventListener('click', () => {
    chosen = isLight() ? 'dark' : 'light';
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // The choice then lasts as long as the page.
    }
    show();
  });
  system.addEventListener('change', show);
  show();
}
