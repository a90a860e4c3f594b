// Runs before anything of the page does. FENSHEN: {paths: {language: path}, lost: {language: sentence}}.
(() => {
  const { paths, lost } = FENSHEN;
  const here = Object.keys(paths).find((tag) => paths[tag] && location.pathname.endsWith('/' + paths[tag])) || 'zh-CN';

  // Go to the remembered language, else to the browser's.
  const browser = (navigator.language || 'zh-CN').toLowerCase().startsWith('zh') ? 'zh-CN' : 'en';
  const remembered = localStorage.getItem('fenshen.language');
  const wanted = remembered in paths ? remembered : here === 'zh-CN' ? browser : here;
  if (wanted !== here) location.replace((paths[wanted] || './') + location.search);

  // Gradio's own texts (drop zones, recorders) follow the page instead of the browser.
  Object.defineProperty(navigator, 'language', { get: () => here });
  document.documentElement.lang = here;
  document.addEventListener('click', (event) => {
    const link = event.target.closest && event.target.closest('a[data-language]');
    if (link) localStorage.setItem('fenshen.language', link.dataset.language);
    // A step that is chosen before the remembered one has come back counts more than that one.
    const step = event.target.closest && event.target.closest('[role=tab]');
    if (step && !window.fenshenRestored) window.fenshenChosen = step.id;
  });

  // So does the step in which this tab was left, which nobody else may have heard of yet.
  window.fenshenChosen = sessionStorage.getItem('fenshen.step');
  addEventListener('pagehide', () => {
    const open = document.querySelector('#steps > .tab-wrapper [role=tab][aria-selected=true]');
    if (window.fenshenRestored && open) sessionStorage.setItem('fenshen.step', open.id);
  });

  // A server that was stopped and started again does not know this page any more: say that it is
  // away, and load the page again when it is back. All that was chosen and written is kept.
  const banner = Object.assign(document.createElement('div'), { className: 'fs-lost', textContent: lost[here] });
  const look = async () => {
    if (document.hidden || !window.gradio_config) return;
    try {
      const answer = await fetch('gradio_api/app_id', { cache: 'no-store' });
      const { app_id } = await answer.json();
      banner.remove();
      const { app_id: mine, auth_required: login } = window.gradio_config;
      const restarted = mine !== undefined && app_id !== mine;
      // A page whose scripts came only in part, from a server just starting, never gets drawn.
      const blank = !login && !document.querySelector('#steps') && performance.now() > 20000;
      if (restarted || blank) location.reload();
    } catch {
      document.body.append(banner);
    }
  };
  setInterval(look, 3000);
})();
