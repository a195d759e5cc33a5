// Dark unless the user chose light. A plain script in the head, so that the first paint is right.
// Gradio follows the system by a class on the body; we decide that class, and keep deciding it.
(() => {
  const KEY = "patchbay.appearance";
  const read = () => {
    try { return localStorage.getItem(KEY) === "light" ? "light" : "dark"; } catch { return "dark"; }
  };
  let appearance = read();

  const apply = () => {
    document.documentElement.dataset.appearance = appearance;
    document.body?.classList.toggle("dark", appearance === "dark");
  };
  const watchBody = () => {
    apply();
    new MutationObserver(() => {
      if (document.body.classList.contains("dark") !== (appearance === "dark")) apply();
    }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  };

  window.toggleAppearance = () => {
    appearance = appearance === "dark" ? "light" : "dark";
    try { localStorage.setItem(KEY, appearance); } catch { /* private browsing: for this visit only */ }
    apply();
  };
  apply();
  if (document.body) watchBody();
  else document.addEventListener("DOMContentLoaded", watchBody);
})();
